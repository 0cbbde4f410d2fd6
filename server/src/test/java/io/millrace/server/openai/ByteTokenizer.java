package io.millrace.server.openai;

import io.millrace.engine.text.IncrementalDecoder;
import io.millrace.engine.text.Tokenizer;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;

/** One token per UTF-8 byte: id 3 + byte; 0 to 2 are special. Makes every character beyond ASCII span several tokens. */
public final class ByteTokenizer implements Tokenizer {
    public static final int VOCAB = 259;
    public static final int BOS = 1;
    public static final int EOS = 2;
    private static final String[] SPECIAL = {"<unk>", "<s>", "</s>"};

    public static int id(char ascii) {
        return 3 + ascii;
    }

    @Override
    public int[] encode(String text, boolean addSpecialTokens) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        int first = addSpecialTokens ? 1 : 0;
        int[] ids = new int[bytes.length + first];
        if (addSpecialTokens) {
            ids[0] = BOS;
        }
        for (int i = 0; i < bytes.length; i++) {
            ids[first + i] = 3 + (bytes[i] & 0xff);
        }
        return ids;
    }

    @Override
    public String decode(int[] ids, boolean skipSpecialTokens) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (int id : ids) {
            if (id >= 3 || !skipSpecialTokens) {
                out.writeBytes(id >= 3 ? bytes(id) : SPECIAL[id].getBytes(StandardCharsets.UTF_8));
            }
        }
        return out.toString(StandardCharsets.UTF_8);
    }

    @Override
    public int vocabSize() {
        return VOCAB;
    }

    @Override
    public boolean isSpecial(int tokenId) {
        return tokenId < 3;
    }

    @Override
    public String piece(int tokenId) {
        return tokenId < 3 ? SPECIAL[tokenId] : String.format("<0x%02X>", tokenId - 3);
    }

    @Override
    public int idOf(String piece) {
        return -1;
    }

    @Override
    public byte[] bytes(int tokenId) {
        return tokenId < 3 ? new byte[0] : new byte[] {(byte) (tokenId - 3)};
    }

    @Override
    public IncrementalDecoder decoder(int[] promptIds, boolean skipSpecialTokens) {
        return new IncrementalDecoder() {
            private final ByteArrayOutputStream held = new ByteArrayOutputStream();

            @Override
            public String append(int tokenId) {
                if (tokenId < 3) {
                    return skipSpecialTokens ? "" : SPECIAL[tokenId];
                }
                held.write(tokenId - 3);
                String text = held.toString(StandardCharsets.UTF_8);
                if (text.endsWith("\uFFFD") && held.size() < 4) {
                    return "";
                }
                held.reset();
                return text;
            }

            @Override
            public String finish() {
                return held.toString(StandardCharsets.UTF_8);
            }
        };
    }

    @Override
    public void close() {}
}

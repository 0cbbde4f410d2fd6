package io.millrace.engine.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.millrace.engine.EngineException;
import io.millrace.engine.weights.GgufBytes;
import io.millrace.engine.weights.GgufFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The short ways from a GGUF vocabulary to a tokenizer give what the long way through JSON gives. */
class GgufTokenizerJsonTest {
    private static final String[] PIECES = {"<unk>", "a", "b", "ab", "\u0120a", "\u4f60\u597d", "\ud83d\ude00", "\"\\\u0001", "a", "<|end|>", "b", "<|end|>", "ab"};
    private static final int[] TYPES = {2, 1, 1, 1, 1, 1, 1, 4, 1, 3, 4, 3, 1};

    @TempDir
    Path folder;

    private GgufFile file(String[] merges) throws IOException {
        return GgufFile.open(new GgufBytes().put("general.architecture", "llama").put("tokenizer.ggml.model", "gpt2").put("tokenizer.ggml.pre", "gpt-2")
                .put("tokenizer.ggml.tokens", PIECES).put("tokenizer.ggml.token_type", TYPES).put("tokenizer.ggml.merges", merges)
                .write(folder.resolve("vocabulary.gguf")));
    }

    /** Entries that stand twice, added or not, special or not, and characters of one to four bytes. */
    @Test
    void tableIsThatOfTheWrittenJson() throws IOException {
        try (GgufFile gguf = file(new String[] {"a b"})) {
            GgufTokenizerJson written = GgufTokenizerJson.of(new GgufVocabulary(gguf.path(), gguf.metadata()));
            TokenizerFile direct = written.tokenizerFile();
            TokenizerFile parsed = TokenizerFile.parse(written.json());
            assertThat(direct.vocabSize()).isEqualTo(parsed.vocabSize());
            assertThat(direct.decoder()).isEqualTo(parsed.decoder()).isEqualTo(new DecoderSpec.ByteLevel());
            assertThat(parsed.renumberedByLibrary()).isEmpty();
            for (int id = -1; id <= PIECES.length; id++) {
                assertThat(direct.piece(id)).as("piece %d", id).isEqualTo(parsed.piece(id));
                assertThat(direct.isSpecial(id)).as("special %d", id).isEqualTo(parsed.isSpecial(id));
            }
            for (String piece : PIECES) {
                assertThat(direct.idOf(piece)).as(piece).isEqualTo(parsed.idOf(piece));
            }
            assertThat(direct.idOf("no such piece")).isEqualTo(-1);
            assertThat(direct.piece(8)).isNull();
            assertThat(direct.piece(10)).isEqualTo("b");
        }
    }

    /** The library refuses such a vocabulary without naming the file; the answer must. */
    @Test
    void mergesOutsideTheVocabularyAreNamed() throws IOException {
        for (String merge : new String[] {"a c", "ab"}) {
            try (GgufFile gguf = file(new String[] {"a b", merge})) {
                assertThatThrownBy(() -> HfTokenizer.of(gguf)).isInstanceOf(EngineException.class).hasMessageContaining("TOK-010")
                        .hasMessageContaining("'" + merge + "'");
            }
        }
    }

    @Test
    void jsonStringsAreReadBackAsTheyWere() throws IOException {
        SplittableRandom random = new SplittableRandom(5);
        for (int round = 0; round < 2000; round++) {
            StringBuilder text = new StringBuilder();
            for (int i = random.nextInt(12); i > 0; i--) {
                int bits = 1 + random.nextInt(20);
                int codePoint = random.nextInt(Math.min(0x110000, 1 << bits));
                text.appendCodePoint(codePoint >= 0xd800 && codePoint < 0xe000 ? 0x10ffff : codePoint);
            }
            AsciiJson json = new AsciiJson(1);
            json.string(text.toString());
            assertThat(json.toString()).isASCII();
            assertThat(TestTokenizers.JSON.readTree(json.toString()).asText()).isEqualTo(text.toString());
        }
    }

    /** Java's own decoder is the judge. */
    @Test
    void whatIsNoUtf8IsRefused() {
        SplittableRandom random = new SplittableRandom(6);
        byte[] leads = {0x41, (byte) 0x80, (byte) 0xbf, (byte) 0xc0, (byte) 0xc2, (byte) 0xdf, (byte) 0xe0, (byte) 0xed, (byte) 0xef, (byte) 0xf0, (byte) 0xf4,
                (byte) 0xf5, (byte) 0xff, (byte) 0x9f, (byte) 0xa0, (byte) 0x90, (byte) 0x8f};
        int refused = 0;
        for (int round = 0; round < 20_000; round++) {
            byte[] bytes = new byte[1 + random.nextInt(5)];
            for (int i = 0; i < bytes.length; i++) {
                bytes[i] = leads[random.nextInt(leads.length)];
            }
            boolean valid = true;
            try {
                StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes));
            } catch (CharacterCodingException e) {
                valid = false;
                refused++;
            }
            assertThat(new AsciiJson(1).string(bytes, 0, bytes.length)).as(Arrays.toString(bytes)).isEqualTo(valid);
        }
        assertThat(refused).isBetween(1000, 19_900);
    }
}

package io.millrace.server.openai;

import io.millrace.engine.text.Tokenizer;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/** Single tokens as log-probability reports name them. */
final class TokenText {
    private final Tokenizer tokenizer;

    TokenText(Tokenizer tokenizer) {
        this.tokenizer = tokenizer;
    }

    Tokenizer tokenizer() {
        return tokenizer;
    }

    /** The token's bytes; of a special token, those of its written form. */
    byte[] bytes(int id) {
        byte[] bytes = tokenizer.bytes(id);
        return bytes.length == 0 ? tokenizer.piece(id).getBytes(StandardCharsets.UTF_8) : bytes;
    }

    /** The token's text; {@code bytes:\xe2\x80} if it is only part of a character, so that different tokens keep different names. */
    static String of(byte[] bytes) {
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
        } catch (CharacterCodingException e) {
            StringBuilder text = new StringBuilder("bytes:");
            for (byte b : bytes) {
                text.append(String.format("\\x%02x", b & 0xff));
            }
            return text.toString();
        }
    }

    String of(int id) {
        return of(bytes(id));
    }
}

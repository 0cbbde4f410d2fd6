package io.millrace.engine.text;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * What each token stands for in running text, computed on first use. One of two shapes: the token is whole characters and has a
 * {@link #text}, or it cuts through characters and has only {@link #bytes}. Thread-safe: the cache holds immutable strings, so a race costs
 * at most a second computation.
 */
abstract sealed class TokenTexts {
    /** Marks, by identity, a token that is not whole characters. */
    @SuppressWarnings("StringOperationCanBeSimplified")
    private static final String NOT_WHOLE = new String("");

    private final TokenizerFile file;
    private final String[] texts;

    private TokenTexts(TokenizerFile file) {
        this.file = file;
        this.texts = new String[file.vocabSize()];
    }

    /** Whole characters, empty for an unknown id (as the Rust library drops it), or null if the token cuts through a character. */
    final String text(int id) {
        if (id < 0 || id >= texts.length) {
            return "";
        }
        String text = texts[id];
        if (text == null) {
            String piece = file.piece(id);
            text = piece == null ? "" : wholeText(piece);
            texts[id] = text = text == null ? NOT_WHOLE : text;
        }
        return text == NOT_WHOLE ? null : text;
    }

    /** The bytes of the token, whole characters or not. A fresh array. */
    final byte[] bytes(int id) {
        String text = text(id);
        return text != null ? text.getBytes(StandardCharsets.UTF_8) : partialBytes(file.piece(id));
    }

    final boolean isSkipped(int id, boolean skipSpecialTokens) {
        return skipSpecialTokens && file.isSpecial(id);
    }

    /** Null if the piece is not whole characters. */
    abstract String wholeText(String piece);

    /** Called only for pieces of which {@link #wholeText} is null. */
    abstract byte[] partialBytes(String piece);

    /** GPT-2's byte alphabet: printable Latin-1 stands for itself, the other 68 bytes for U+0100 onwards in order. */
    static final class ByteLevel extends TokenTexts {
        private static final short[] BYTE_OF_CHAR = byteOfChar();
        private static final char[] CHAR_OF_BYTE = charOfByte();

        ByteLevel(TokenizerFile file) {
            super(file);
        }

        private static short[] byteOfChar() {
            short[] table = new short[0x100 + 68];
            Arrays.fill(table, (short) -1);
            int next = 0x100;
            for (int b = 0; b < 0x100; b++) {
                boolean printable = b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE;
                table[printable ? b : next++] = (short) b;
            }
            return table;
        }

        private static char[] charOfByte() {
            char[] table = new char[0x100];
            for (char c = 0; c < BYTE_OF_CHAR.length; c++) {
                if (BYTE_OF_CHAR[c] >= 0) {
                    table[BYTE_OF_CHAR[c]] = c;
                }
            }
            return table;
        }

        /** What stands for a byte of {@code [0, 256)}. */
        static char charOf(int b) {
            return CHAR_OF_BYTE[b];
        }

        /** What stands for these bytes, in UTF-8: all of the alphabet have one or two bytes there. */
        static byte[] toAlphabet(byte[] bytes) {
            byte[] utf8 = new byte[2 * bytes.length];
            int size = 0;
            for (byte b : bytes) {
                char c = CHAR_OF_BYTE[b & 0xff];
                if (c < 0x80) {
                    utf8[size++] = (byte) c;
                } else {
                    utf8[size++] = (byte) (0xc0 | c >> 6);
                    utf8[size++] = (byte) (0x80 | c & 0x3f);
                }
            }
            return Arrays.copyOf(utf8, size);
        }

        @Override
        String wholeText(String piece) {
            byte[] bytes = partialBytes(piece);
            try {
                return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
            } catch (CharacterCodingException e) {
                return null;
            }
        }

        /** A piece with a character outside the alphabet (an added token such as {@code <｜User｜>}) stands for itself. */
        @Override
        byte[] partialBytes(String piece) {
            byte[] bytes = new byte[piece.length()];
            for (int i = 0; i < bytes.length; i++) {
                char c = piece.charAt(i);
                if (c >= BYTE_OF_CHAR.length || BYTE_OF_CHAR[c] < 0) {
                    return piece.getBytes(StandardCharsets.UTF_8);
                }
                bytes[i] = (byte) BYTE_OF_CHAR[c];
            }
            return bytes;
        }
    }

    /** Pieces are text with {@code ▁} for space, or one byte written {@code <0xNN>}; bytes are never "whole", even in ASCII. */
    static final class SentencePiece extends TokenTexts {
        private final DecoderSpec.SentencePiece spec;

        SentencePiece(TokenizerFile file, DecoderSpec.SentencePiece spec) {
            super(file);
            this.spec = spec;
        }

        @Override
        String wholeText(String piece) {
            String text = replaced(piece);
            if (spec.byteFallback() && byteOf(text) >= 0) {
                return null;
            }
            return spec.metaspace() == 0 ? text : text.replace(spec.metaspace(), ' ');
        }

        @Override
        byte[] partialBytes(String piece) {
            return new byte[] {(byte) byteOf(replaced(piece))};
        }

        /** The text of a piece that opens the decoded text, where a Metaspace decoder drops its marks. */
        String openingText(int id, String text, TokenizerFile file) {
            return spec.metaspace() != 0 && spec.metaspaceLeads()
                    ? replaced(file.piece(id)).replace(String.valueOf(spec.metaspace()), "") : text;
        }

        private String replaced(String piece) {
            String text = piece;
            for (DecoderSpec.Replacement replacement : spec.replacements()) {
                text = text.replace(replacement.pattern(), replacement.content());
            }
            return text;
        }

        private static int byteOf(String piece) {
            if (piece.length() != 6 || !piece.startsWith("<0x") || piece.charAt(5) != '>') {
                return -1;
            }
            int high = Character.digit(piece.charAt(3), 16);
            int low = Character.digit(piece.charAt(4), 16);
            return high < 0 || low < 0 ? -1 : high << 4 | low;
        }
    }
}

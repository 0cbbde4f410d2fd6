package io.millrace.engine.text;

import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * JSON as it is made, in ASCII: what is beyond it is escaped, so that the text is one byte a character in Java and crosses to native code as
 * it stands. Takes strings as the UTF-8 of a file, without making objects of them.
 */
final class AsciiJson extends OutputStream {
    private static final byte[] HEX = "0123456789abcdef".getBytes(StandardCharsets.US_ASCII);
    /** Of a byte of UTF-8: {@code \\u0001}. */
    private static final int MAX_ESCAPED = 6;

    private byte[] bytes;
    private int size;

    AsciiJson(int capacity) {
        bytes = new byte[capacity];
    }

    @Override
    public void write(int b) {
        reserve(1);
        bytes[size++] = (byte) b;
    }

    @Override
    public void write(byte[] from, int begin, int length) {
        reserve(length);
        System.arraycopy(from, begin, bytes, size, length);
        size += length;
    }

    void number(int value) {
        byte[] digits = Integer.toString(value).getBytes(StandardCharsets.US_ASCII);
        write(digits, 0, digits.length);
    }

    void string(String text) {
        byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
        if (!string(utf8, 0, utf8.length)) {
            throw new IllegalArgumentException("not a text: " + text);
        }
    }

    /** Appends the string of {@code utf8[begin, end)}. @return false, with an undefined rest, where that is not UTF-8 */
    boolean string(byte[] utf8, int begin, int end) {
        reserve((end - begin) * (long) MAX_ESCAPED + 2);
        byte[] out = bytes;
        int at = size;
        out[at++] = '"';
        for (int i = begin; i < end; ) {
            int b = utf8[i++];
            if (b >= ' ') {
                if (b == '"' || b == '\\') {
                    out[at++] = '\\';
                }
                out[at++] = (byte) b;
                continue;
            }
            int more = b >= 0 ? 0 : (b & 0xe0) == 0xc0 ? 1 : (b & 0xf0) == 0xe0 ? 2 : (b & 0xf8) == 0xf0 ? 3 : 4;
            if (more > end - i || more == 4) {
                return false;
            }
            int codePoint = more == 0 ? b : b & 0x3f >> more;
            for (int k = 0; k < more; k++, i++) {
                if ((utf8[i] & 0xc0) != 0x80) {
                    return false;
                }
                codePoint = codePoint << 6 | utf8[i] & 0x3f;
            }
            boolean overlong = more == 1 && codePoint < 0x80 || more == 2 && codePoint < 0x800 || more == 3 && codePoint < 0x10000;
            if (overlong || codePoint > 0x10ffff || codePoint >= 0xd800 && codePoint < 0xe000) {
                return false;
            }
            if (codePoint < 0x10000) {
                at = escape(out, at, codePoint);
            } else {
                at = escape(out, at, Character.highSurrogate(codePoint));
                at = escape(out, at, Character.lowSurrogate(codePoint));
            }
        }
        out[at++] = '"';
        size = at;
        return true;
    }

    private static int escape(byte[] out, int at, int unit) {
        out[at] = '\\';
        out[at + 1] = 'u';
        for (int k = 0; k < 4; k++) {
            out[at + 2 + k] = HEX[unit >> 12 - 4 * k & 15];
        }
        return at + 6;
    }

    private void reserve(long more) {
        if (more > bytes.length - size) {
            bytes = Arrays.copyOf(bytes, Math.toIntExact(Math.max(size + more, Math.min(Integer.MAX_VALUE - 8L, bytes.length * 2L))));
        }
    }

    @Override
    public String toString() {
        return new String(bytes, 0, size, StandardCharsets.ISO_8859_1);
    }
}

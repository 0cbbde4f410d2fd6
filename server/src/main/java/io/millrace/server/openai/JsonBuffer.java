package io.millrace.server.openai;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * A growing byte array that JSON is written to, reused from event to event so that a stream allocates nothing per token here. The
 * caller is responsible for the structure; values are escaped. Not thread-safe.
 */
public final class JsonBuffer {
    private static final byte[] HEX = "0123456789abcdef".getBytes(StandardCharsets.US_ASCII);
    private byte[] bytes;
    private int size;

    public JsonBuffer(int capacity) {
        bytes = new byte[capacity];
    }

    public byte[] array() {
        return bytes;
    }

    public int size() {
        return size;
    }

    public boolean isEmpty() {
        return size == 0;
    }

    public void clear() {
        size = 0;
    }

    /** Drops what was written after {@code newSize}. */
    public void truncate(int newSize) {
        size = newSize;
    }

    public byte[] toByteArray() {
        return Arrays.copyOf(bytes, size);
    }

    /** ASCII text as it is: punctuation and keys. */
    public JsonBuffer raw(String ascii) {
        int length = ascii.length();
        ensure(length);
        for (int i = 0; i < length; i++) {
            bytes[size++] = (byte) ascii.charAt(i);
        }
        return this;
    }

    public JsonBuffer raw(byte[] source) {
        return raw(source, 0, source.length);
    }

    public JsonBuffer raw(byte[] source, int offset, int length) {
        ensure(length);
        System.arraycopy(source, offset, bytes, size, length);
        size += length;
        return this;
    }

    public JsonBuffer raw(JsonBuffer other) {
        return raw(other.bytes, 0, other.size);
    }

    public JsonBuffer number(long value) {
        if (value >= 0 && value < 10) {
            ensure(1);
            bytes[size++] = (byte) ('0' + value);
            return this;
        }
        return raw(Long.toString(value));
    }

    /** A finite number; infinities are clamped to ±9999 since JSON has none, not-a-number becomes -9999. */
    public JsonBuffer number(float value) {
        float finite = Float.isNaN(value) ? -9999f : Math.clamp(value, -9999f, 9999f);
        return raw(Float.toString(finite));
    }

    /** A quoted, escaped string or {@code null}. Lone surrogates become U+FFFD, so the output is always valid UTF-8. */
    public JsonBuffer string(CharSequence text) {
        if (text == null) {
            return raw("null");
        }
        int length = text.length();
        ensure(2 + 6 * length);
        bytes[size++] = '"';
        for (int i = 0; i < length; i++) {
            char c = text.charAt(i);
            if (c < 0x80) {
                ascii(c);
            } else if (c < 0x800) {
                bytes[size++] = (byte) (0xc0 | c >> 6);
                bytes[size++] = (byte) (0x80 | c & 0x3f);
            } else if (!Character.isSurrogate(c)) {
                threeBytes(c);
            } else if (Character.isHighSurrogate(c) && i + 1 < length && Character.isLowSurrogate(text.charAt(i + 1))) {
                int point = Character.toCodePoint(c, text.charAt(++i));
                bytes[size++] = (byte) (0xf0 | point >> 18);
                bytes[size++] = (byte) (0x80 | point >> 12 & 0x3f);
                bytes[size++] = (byte) (0x80 | point >> 6 & 0x3f);
                bytes[size++] = (byte) (0x80 | point & 0x3f);
            } else {
                threeBytes('\uFFFD');
            }
        }
        bytes[size++] = '"';
        return this;
    }

    private void ascii(char c) {
        switch (c) {
            case '"', '\\' -> {
                bytes[size++] = '\\';
                bytes[size++] = (byte) c;
            }
            case '\n' -> escape('n');
            case '\r' -> escape('r');
            case '\t' -> escape('t');
            default -> {
                if (c >= 0x20) {
                    bytes[size++] = (byte) c;
                } else {
                    escape('u');
                    bytes[size++] = '0';
                    bytes[size++] = '0';
                    bytes[size++] = HEX[c >> 4];
                    bytes[size++] = HEX[c & 0xf];
                }
            }
        }
    }

    private void escape(char letter) {
        bytes[size++] = '\\';
        bytes[size++] = (byte) letter;
    }

    private void threeBytes(char c) {
        bytes[size++] = (byte) (0xe0 | c >> 12);
        bytes[size++] = (byte) (0x80 | c >> 6 & 0x3f);
        bytes[size++] = (byte) (0x80 | c & 0x3f);
    }

    private void ensure(int more) {
        int needed = Math.addExact(size, more);
        if (needed > bytes.length) {
            bytes = Arrays.copyOf(bytes, Math.max(needed, 2 * bytes.length));
        }
    }
}

package io.millrace.engine.text;

/**
 * Assembles code points from UTF-8 bytes that arrive one at a time, refusing what RFC 3629 refuses (overlong forms, surrogates, values over
 * U+10FFFF) at the first byte that makes the sequence impossible, so that malformed input is cut into the same "maximal subparts" as
 * Unicode 3.9 describes and as Rust's {@code from_utf8_lossy} does. Not thread-safe.
 */
final class Utf8Assembler {
    /** More bytes are needed. */
    static final int INCOMPLETE = -1;
    /** The byte can start nothing: it alone is malformed and has been consumed. */
    static final int MALFORMED_BYTE = -2;
    /** The bytes before this one are malformed and dropped; feed this byte again. */
    static final int MALFORMED_PREFIX = -3;

    private int codePoint;
    private int numPending;
    private int numMissing;
    private int lowest = 0x80;
    private int highest = 0xBF;

    /** Whether {@code bytes[begin, end)} is whole characters. */
    static boolean isValid(byte[] bytes, int begin, int end) {
        int i = begin;
        while (i < end && bytes[i] >= 0) {
            i++;
        }
        if (i == end) {
            return true;
        }
        Utf8Assembler assembler = new Utf8Assembler();
        int fed = 0;
        for (; i < end; i++) {
            fed = assembler.feed(bytes[i]);
            if (fed < INCOMPLETE) {
                return false;
            }
        }
        return fed != INCOMPLETE;
    }

    /** Bytes of the incomplete character held, 0 to 3. */
    int numPending() {
        return numPending;
    }

    void reset() {
        numPending = 0;
        numMissing = 0;
        lowest = 0x80;
        highest = 0xBF;
    }

    /** @return a code point, or one of the negative constants */
    int feed(byte value) {
        int b = value & 0xFF;
        if (numMissing == 0) {
            return start(b);
        }
        if (b < lowest || b > highest) {
            reset();
            return MALFORMED_PREFIX;
        }
        codePoint = codePoint << 6 | b & 0x3F;
        lowest = 0x80;
        highest = 0xBF;
        numPending++;
        if (--numMissing > 0) {
            return INCOMPLETE;
        }
        numPending = 0;
        return codePoint;
    }

    private int start(int b) {
        if (b < 0x80) {
            return b;
        }
        if (b < 0xC2 || b > 0xF4) {
            return MALFORMED_BYTE;
        }
        numPending = 1;
        if (b < 0xE0) {
            numMissing = 1;
            codePoint = b & 0x1F;
        } else if (b < 0xF0) {
            numMissing = 2;
            codePoint = b & 0x0F;
            lowest = b == 0xE0 ? 0xA0 : 0x80;
            highest = b == 0xED ? 0x9F : 0xBF;
        } else {
            numMissing = 3;
            codePoint = b & 0x07;
            lowest = b == 0xF0 ? 0x90 : 0x80;
            highest = b == 0xF4 ? 0x8F : 0xBF;
        }
        return INCOMPLETE;
    }

    /** Whether a byte may only continue a character: a text cut before any other byte decodes the same in two halves. */
    static boolean isContinuation(byte b) {
        return (b & 0xC0) == 0x80;
    }
}

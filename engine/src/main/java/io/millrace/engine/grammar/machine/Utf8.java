package io.millrace.engine.grammar.machine;

/**
 * Characters that have begun: the lead byte and some others are read. As a number of 25 bits: the length in bytes less one, bytes still to come, the bits read so far.
 * Overlong forms are never begun; surrogates are no characters, so no set of them has any.
 */
final class Utf8 {
    static final int INVALID = -1;
    private static final int[] SMALLEST = {0, 0x80, 0x800, 0x10000};

    private Utf8() {}

    /** @param lead a byte of at least 0x80 */
    static int begin(int lead) {
        if (lead >= 0xC2 && lead <= 0xDF) {
            return pack(1, 1, lead & 0x1F);
        } else if (lead >= 0xE0 && lead <= 0xEF) {
            return pack(2, 2, lead & 0x0F);
        }
        return lead >= 0xF0 && lead <= 0xF4 ? pack(3, 3, lead & 0x07) : INVALID;
    }

    private static int pack(int length, int remaining, int bits) {
        return length << 23 | remaining << 21 | bits;
    }

    /** One byte further; {@link #remaining} is 0 when the character is complete and {@link #first} gives it. */
    static int next(int pending, int b) {
        if ((b & 0xC0) != 0x80) {
            return INVALID;
        }
        int next = pack(pending >>> 23, remaining(pending) - 1, (pending & 0x1FFFFF) << 6 | b & 0x3F);
        return last(next) < first(next) ? INVALID : next;
    }

    /**
     * One of all beginnings that can go on in the same ways and differ only in which character comes of them. Those that exclude some bytes
     * (after E0, ED, F0, F4) stay what they are.
     */
    static int canonical(int pending) {
        int length = pending >>> 23;
        int shift = 6 * remaining(pending);
        int first = (pending & 0x1FFFFF) << shift;
        int last = first + (1 << shift) - 1;
        boolean whole = first >= SMALLEST[length] && last <= 0x10FFFF && (last < 0xD800 || first > 0xDFFF);
        // U+0080, U+1000 and U+40000 are the first of their kind.
        return whole ? pack(length, remaining(pending), (length == 1 ? 2 : 1) << 6 * (length - remaining(pending))) : pending;
    }

    static int remaining(int pending) {
        return pending >>> 21 & 3;
    }

    /** The smallest character this may become. */
    static int first(int pending) {
        return Math.max((pending & 0x1FFFFF) << 6 * remaining(pending), SMALLEST[pending >>> 23]);
    }

    /** The largest character this may become. */
    static int last(int pending) {
        int shift = 6 * remaining(pending);
        return Math.min(((pending & 0x1FFFFF) << shift) + (1 << shift) - 1, 0x10FFFF);
    }
}

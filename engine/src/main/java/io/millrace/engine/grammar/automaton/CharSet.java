package io.millrace.engine.grammar.automaton;

import java.util.Arrays;

/** An immutable set of Unicode scalar values (surrogates are never in it) as sorted, disjoint, non-adjacent ranges {@code [from, to]}. */
public final class CharSet {
    public static final int MAX_CHAR = 0x10FFFF;
    public static final CharSet EMPTY = new CharSet(new int[0]);
    public static final CharSet ALL = new CharSet(new int[] {0, 0xD7FF, 0xE000, MAX_CHAR});

    /** from0, to0, from1, to1, ... */
    private final int[] bounds;

    private CharSet(int[] bounds) {
        this.bounds = bounds;
    }

    public static CharSet of(int c) {
        return range(c, c);
    }

    public static CharSet range(int from, int to) {
        return ofRanges(from, to);
    }

    /** The characters of {@code chars}. */
    public static CharSet anyOf(String chars) {
        return ofRanges(chars.codePoints().flatMap(c -> java.util.stream.IntStream.of(c, c)).toArray());
    }

    /** Pairs of inclusive bounds in any order, overlapping or not. */
    public static CharSet ofRanges(int... pairs) {
        long[] sorted = new long[pairs.length / 2];
        for (int i = 0; i < sorted.length; i++) {
            sorted[i] = (long) pairs[2 * i] << 32 | pairs[2 * i + 1];
        }
        Arrays.sort(sorted);
        int[] out = new int[2 * sorted.length + 2];
        int n = 0;
        for (long range : sorted) {
            int from = (int) (range >> 32);
            int to = (int) range;
            if (from <= 0xDFFF && to >= 0xD800) {
                n = append(out, n, from, Math.min(to, 0xD7FF));
                from = 0xE000;
            }
            n = append(out, n, from, to);
            if (n + 4 > out.length) {
                out = Arrays.copyOf(out, out.length + 4);
            }
        }
        return n == 0 ? EMPTY : new CharSet(Arrays.copyOf(out, n));
    }

    private static int append(int[] out, int n, int from, int to) {
        if (from > to) {
            return n;
        }
        if (n > 0 && from <= out[n - 1] + 1) {
            out[n - 1] = Math.max(out[n - 1], to);
            return n;
        }
        out[n] = from;
        out[n + 1] = to;
        return n + 2;
    }

    public CharSet union(CharSet other) {
        int[] both = Arrays.copyOf(bounds, bounds.length + other.bounds.length);
        System.arraycopy(other.bounds, 0, both, bounds.length, other.bounds.length);
        return ofRanges(both);
    }

    public CharSet complement() {
        int[] out = new int[bounds.length + 2];
        int n = 0;
        int next = 0;
        for (int i = 0; i < bounds.length; i += 2) {
            n = append(out, n, next, bounds[i] - 1);
            next = bounds[i + 1] + 1;
        }
        n = append(out, n, next, MAX_CHAR);
        return ofRanges(Arrays.copyOf(out, n));
    }

    public CharSet intersect(CharSet other) {
        return complement().union(other.complement()).complement();
    }

    public boolean contains(int c) {
        return intersects(c, c);
    }

    /** Whether a character of {@code [from, to]} is in the set. */
    public boolean intersects(int from, int to) {
        int i = firstEndingAt(from);
        return i < bounds.length && bounds[i] <= to;
    }

    /** The index of the first range that ends at {@code c} or after it. */
    private int firstEndingAt(int c) {
        int low = 0;
        int high = bounds.length / 2;
        while (low < high) {
            int mid = (low + high) >>> 1;
            if (bounds[2 * mid + 1] < c) {
                low = mid + 1;
            } else {
                high = mid;
            }
        }
        return 2 * low;
    }

    public boolean isEmpty() {
        return bounds.length == 0;
    }

    public int numRanges() {
        return bounds.length / 2;
    }

    public int from(int range) {
        return bounds[2 * range];
    }

    /** Inclusive. */
    public int to(int range) {
        return bounds[2 * range + 1];
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof CharSet set && Arrays.equals(bounds, set.bounds);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(bounds);
    }

    @Override
    public String toString() {
        StringBuilder out = new StringBuilder("[");
        for (int i = 0; i < numRanges(); i++) {
            out.append(i > 0 ? " " : "").append(Integer.toHexString(from(i))).append('-').append(Integer.toHexString(to(i)));
        }
        return out.append(']').toString();
    }
}

package io.millrace.engine.grammar.json;

import io.millrace.engine.grammar.machine.Part;

/**
 * A JSON array of {@code min} to {@code max} items: those of {@code prefix} first, then {@code rest}.
 *
 * <p>State: phase in bits 0 to 3, {@link Whitespace} in 4 to 11, number of items in 12 and up.
 */
final class ArrayPart extends Part {
    static final int UNLIMITED = Integer.MAX_VALUE;
    private static final int START = 0;
    private static final int OPEN = 1;
    private static final int ITEM = 2;
    private static final int AFTER = 3;
    private static final int NEXT = 4;
    private static final int DONE = 5;

    private final Part[] prefix;
    private final Part rest;
    private final int min;
    private final int max;
    private final boolean spaced;

    /** @param rest null only if {@code max} is no more than the prefix has */
    ArrayPart(Part[] prefix, Part rest, int min, int max, boolean spaced) {
        this.prefix = prefix;
        this.rest = rest;
        this.min = min;
        this.max = max;
        this.spaced = spaced;
    }

    private static long state(int phase, int space, int items) {
        return (long) items << 12 | space << 4 | phase;
    }

    private static int items(long state) {
        return (int) (state >>> 12);
    }

    @Override
    public long start() {
        return state(START, 0, 0);
    }

    @Override
    public long step(long state, int b) {
        int phase = (int) state & 15;
        int items = items(state);
        int space = (int) state >>> 4 & 0xFF;
        if (phase == START) {
            return b == '[' ? state(OPEN, 0, 0) : DEAD;
        } else if (phase == OPEN || phase == AFTER) {
            boolean closes = items >= min;
            if (b == ']') {
                return closes ? state(DONE, 0, 0) : DEAD;
            }
            if (phase == AFTER && b == ',') {
                return items < max && space == 0 ? state(NEXT, 0, items) : DEAD;
            }
            if (phase == AFTER && !closes) {
                return DEAD;
            }
        } else if (phase != NEXT) {
            return DEAD;
        }
        int next = spaced ? Whitespace.step(space, b) : -1;
        return next < 0 ? DEAD : state(phase, next, items);
    }

    @Override
    public boolean accepts(long state) {
        return ((int) state & 15) == DONE;
    }

    @Override
    public boolean continues(long state) {
        int phase = (int) state & 15;
        return phase != DONE && phase != ITEM;
    }

    @Override
    public int numCalls(long state) {
        int phase = (int) state & 15;
        return (phase == OPEN || phase == NEXT) && items(state) < max ? 1 : 0;
    }

    @Override
    public Part callee(long state, int k) {
        int items = items(state);
        return items < prefix.length ? prefix[items] : rest;
    }

    @Override
    public long waiting(long state, int k) {
        return state(ITEM, 0, items(state));
    }

    @Override
    public long resume(long waiting, int result) {
        int items = items(waiting) + 1;
        // Beyond what anything depends on, numbers of items are all the same.
        return state(AFTER, 0, max == UNLIMITED ? Math.min(items, Math.max(min, prefix.length)) : items);
    }
}

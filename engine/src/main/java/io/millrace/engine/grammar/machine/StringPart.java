package io.millrace.engine.grammar.machine;

import io.millrace.engine.grammar.automaton.CharMachine;
import java.util.function.IntUnaryOperator;

/**
 * A JSON string (RFC 8259) whose content a {@link CharMachine} accepts, in all spellings: characters as they are or escaped in short or with
 * {@code \}{@code uXXXX}, pairs of surrogates for those beyond. Half a pair is not offered: no text can be made of it.
 *
 * <p>State: the content's in bits 0 to 30, how we stand ({@link #OPEN} ...) in 32 to 35, above them what was read of a character.
 */
public final class StringPart extends Part {
    private static final int OPEN = 0;
    private static final int CONTENT = 1;
    private static final int UTF8 = 2;
    private static final int BACKSLASH = 3;
    /** Digits of {@code \}{@code uXXXX}: their number in bits 16 and up, their value below. */
    private static final int HEX = 4;
    /** A high surrogate is read, its ten bits are kept; {@code \}, then {@code u} is next. */
    private static final int HIGH = 5;
    private static final int HIGH_BACKSLASH = 6;
    /** Digits of the low surrogate: high surrogate's bits in bits 14 and up, number of digits in 12 and 13, their value below. */
    private static final int LOW = 7;
    private static final int DONE = 8;

    private final CharMachine content;
    private final IntUnaryOperator result;

    public StringPart(CharMachine content) {
        this(content, q -> 0);
    }

    /** @param result what the waiting piece is told, by the content's last state */
    public StringPart(CharMachine content, IntUnaryOperator result) {
        this.content = content;
        this.result = result;
    }

    @Override
    public long start() {
        return state(OPEN, 0, content.start());
    }

    private static long state(int mode, int extra, int q) {
        return (long) extra << 36 | (long) mode << 32 | q;
    }

    private static long contentOrDead(int q) {
        return q == CharMachine.DEAD ? DEAD : state(CONTENT, 0, q);
    }

    @Override
    public long step(long state, int b) {
        int q = (int) state & 0x7FFFFFFF;
        int extra = (int) (state >>> 36);
        return switch (mode(state)) {
            case OPEN -> b == '"' ? state(CONTENT, 0, q) : DEAD;
            case CONTENT -> content(q, b);
            case UTF8 -> utf8(q, Utf8.next(extra, b));
            case BACKSLASH -> escape(q, b);
            case HEX -> hex(q, extra >>> 16, extra & 0xFFFF, b);
            case HIGH -> b == '\\' ? state(HIGH_BACKSLASH, extra, q) : DEAD;
            case HIGH_BACKSLASH -> b == 'u' ? state(LOW, extra << 14, q) : DEAD;
            case LOW -> low(q, extra, b);
            default -> DEAD;
        };
    }

    private static int mode(long state) {
        return (int) (state >>> 32) & 15;
    }

    private long content(int q, int b) {
        if (b == '"') {
            return content.accepts(q) ? state(DONE, 0, q) : DEAD;
        } else if (b == '\\') {
            return content.continues(q) ? state(BACKSLASH, 0, q) : DEAD;
        } else if (b < 0x20) {
            return DEAD;
        }
        return b < 0x80 ? contentOrDead(content.step(q, b)) : utf8(q, Utf8.begin(b));
    }

    private long utf8(int q, int pending) {
        if (pending == Utf8.INVALID) {
            return DEAD;
        }
        if (Utf8.remaining(pending) == 0) {
            return contentOrDead(content.step(q, Utf8.first(pending)));
        }
        if (!content.stepsWithin(q, Utf8.first(pending), Utf8.last(pending))) {
            return DEAD;
        }
        return state(UTF8, content.isUniform() ? Utf8.canonical(pending) : pending, q);
    }

    private long escape(int q, int b) {
        return switch (b) {
            case '"', '\\', '/' -> contentOrDead(content.step(q, b));
            case 'b' -> contentOrDead(content.step(q, '\b'));
            case 'f' -> contentOrDead(content.step(q, '\f'));
            case 'n' -> contentOrDead(content.step(q, '\n'));
            case 'r' -> contentOrDead(content.step(q, '\r'));
            case 't' -> contentOrDead(content.step(q, '\t'));
            case 'u' -> state(HEX, 0, q);
            default -> DEAD;
        };
    }

    private static int digit(int b) {
        return b >= '0' && b <= '9' ? b - '0' : b >= 'a' && b <= 'f' ? b - 'a' + 10 : b >= 'A' && b <= 'F' ? b - 'A' + 10 : -1;
    }

    private long hex(int q, int digits, int value, int b) {
        int digit = digit(b);
        if (digit < 0) {
            return DEAD;
        }
        int unit = value << 4 | digit;
        if (digits == 3) {
            if (unit >= 0xD800 && unit <= 0xDBFF) {
                return anyPair(q, unit, unit) ? state(HIGH, unit & 0x3FF, q) : DEAD;
            }
            return contentOrDead(content.step(q, unit));
        }
        int shift = 4 * (3 - digits);
        int first = unit << shift;
        int last = first + (1 << shift) - 1;
        boolean lives = content.stepsWithin(q, first, last) || anyPair(q, Math.max(first, 0xD800), Math.min(last, 0xDBFF));
        return lives ? state(HEX, digits + 1 << 16 | unit, q) : DEAD;
    }

    /** Whether a character follows whose high surrogate is in {@code [first, last]}. */
    private boolean anyPair(int q, int first, int last) {
        return first <= last && content.stepsWithin(q, 0x10000 + ((first & 0x3FF) << 10), 0x10000 + ((last & 0x3FF) << 10 | 0x3FF));
    }

    private long low(int q, int extra, int b) {
        int digit = digit(b);
        int high = extra >>> 14;
        int digits = extra >>> 12 & 3;
        if (digit < 0) {
            return DEAD;
        }
        int unit = (extra & 0xFFF) << 4 | digit;
        int shift = 4 * (3 - digits);
        int first = Math.max(unit << shift, 0xDC00);
        int last = Math.min((unit << shift) + (1 << shift) - 1, 0xDFFF);
        int base = 0x10000 + (high << 10);
        if (first > last || !content.stepsWithin(q, base + first - 0xDC00, base + last - 0xDC00)) {
            return DEAD;
        }
        return digits == 3 ? contentOrDead(content.step(q, base + unit - 0xDC00))
                : state(LOW, high << 14 | digits + 1 << 12 | unit, q);
    }

    @Override
    public boolean accepts(long state) {
        return mode(state) == DONE;
    }

    @Override
    public boolean continues(long state) {
        return mode(state) != DONE;
    }

    @Override
    public int result(long state) {
        return result.applyAsInt((int) state & 0x7FFFFFFF);
    }

    @Override
    public int freeRun(long state) {
        return mode(state) == CONTENT ? content.freeRun((int) state & 0x7FFFFFFF) : 0;
    }

    @Override
    public boolean isFreeRunExact(long state) {
        return mode(state) == CONTENT && content.isFreeRunExact((int) state & 0x7FFFFFFF);
    }
}

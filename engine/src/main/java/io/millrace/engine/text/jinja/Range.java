package io.millrace.engine.text.jinja;

import java.util.AbstractList;
import java.util.RandomAccess;

/** Python's range, not spelled out in memory. */
final class Range extends AbstractList<Object> implements RandomAccess {
    /** As in Jinja2's sandbox. */
    static final int MAX_SIZE = 100_000;

    private final long begin;
    private final long end;
    private final long step;
    private final int size;

    Range(long begin, long end, long step) {
        if (step == 0) {
            throw JinjaException.type("range() arg 3 must not be zero");
        }
        this.begin = begin;
        this.end = end;
        this.step = step;
        double length = Math.ceil(((double) end - begin) / step);
        if (length > MAX_SIZE) {
            throw new JinjaException(JinjaException.Kind.SECURITY,
                    "Range too big. The sandbox blocks ranges larger than MAX_RANGE (" + MAX_SIZE + ").");
        }
        this.size = (int) Math.max(0, length);
    }

    @Override
    public Object get(int index) {
        return begin + index * step;
    }

    @Override
    public int size() {
        return size;
    }

    @Override
    public String toString() {
        return "range(" + begin + ", " + end + (step == 1 ? "" : ", " + step) + ")";
    }
}

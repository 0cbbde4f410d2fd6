package io.millrace.engine.text.jinja;

/**
 * What one rendering may spend. Every evaluated expression, visited element and copied character is charged, so that no template runs long
 * or grows large, whatever it nests or multiplies. One rendering, one thread.
 */
final class Budget {
    /** Source characters; the longest template in common use has 30,000. */
    static final int MAX_SOURCE_CHARS = 1 << 20;
    /** Nesting of expressions and blocks in the source, well inside a thread's stack. */
    static final int MAX_PARSE_DEPTH = 100;
    /** Evaluations; under two seconds on a slow machine. */
    static final long MAX_STEPS = 5_000_000;
    /** Nesting of evaluations at run time, macro calls included. */
    static final int MAX_DEPTH = 400;
    /** Characters of any string, the output included. */
    static final int MAX_CHARS = 16 << 20;
    /** Characters copied for the price of one step. */
    private static final int CHARS_PER_STEP = 16;

    private long numStepsLeft = MAX_STEPS;
    private int depth;

    void step() {
        if (--numStepsLeft < 0) {
            throw JinjaException.limit("evaluation steps", MAX_STEPS);
        }
    }

    /** To be called before {@code numChars} characters or elements are made. */
    void charge(long numChars) {
        if (numChars > MAX_CHARS) {
            throw JinjaException.limit("characters or elements in one value", MAX_CHARS);
        }
        numStepsLeft -= numChars / CHARS_PER_STEP;
        step();
    }

    void enter() {
        step();
        if (++depth > MAX_DEPTH) {
            throw JinjaException.limit("nested evaluations", MAX_DEPTH);
        }
    }

    void leave() {
        depth--;
    }
}

package io.millrace.engine.grammar.json;

/**
 * Space between the tokens of a JSON text, bounded so that a model cannot lose itself in it: nothing, one space, or a new line with an
 * indentation of up to {@link #MAX_INDENT} spaces and tabs. Numbers stand for what was read: 0 nothing, 1 a space, from 2 a new line and so many.
 */
final class Whitespace {
    static final int MAX_INDENT = 20;

    private Whitespace() {}

    /** -1 if byte {@code b} is no space that may follow. */
    static int step(int space, int b) {
        return switch (b) {
            case '\n' -> space == 0 ? 2 : -1;
            case ' ' -> space == 0 ? 1 : space >= 2 && space < 2 + MAX_INDENT ? space + 1 : -1;
            case '\t' -> space >= 2 && space < 2 + MAX_INDENT ? space + 1 : -1;
            default -> -1;
        };
    }
}

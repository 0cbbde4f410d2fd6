package io.millrace.engine.text.jinja;

/**
 * A lexical element.
 *
 * @param text  of TEXT the output, of NAME the identifier, of STRING the decoded value, of OPERATOR the sign, of numbers their digits
 * @param line  of the source, from 1
 */
record Token(Kind kind, String text, int line) {
    enum Kind { TEXT, NAME, STRING, INTEGER, FLOAT, OPERATOR, BLOCK_BEGIN, BLOCK_END, VARIABLE_BEGIN, VARIABLE_END, END }

    boolean is(Kind expected, String expectedText) {
        return kind == expected && text.equals(expectedText);
    }

    boolean isOperator(String sign) {
        return is(Kind.OPERATOR, sign);
    }

    boolean isName(String name) {
        return is(Kind.NAME, name);
    }

    /** For error messages. */
    String describe() {
        return switch (kind) {
            case TEXT -> "template text";
            case END -> "end of template";
            case BLOCK_BEGIN -> "begin of statement block";
            case BLOCK_END -> "end of statement block";
            case VARIABLE_BEGIN -> "begin of print statement";
            case VARIABLE_END -> "end of print statement";
            default -> "'" + text + "'";
        };
    }
}

package io.millrace.server.openai.output;

/** Finds the end of one JSON value that arrives character by character. It counts brackets and quotes and does not validate. */
final class JsonValueScanner {
    private int depth;
    private boolean inString;
    private boolean escaped;
    private boolean scalar;
    private boolean started;

    enum Where {
        /** The character belongs to the value, which goes on. */
        INSIDE,
        /** The character is the value's last. */
        LAST,
        /** The value, a number or a word, ended before this character. */
        AFTER
    }

    void reset() {
        depth = 0;
        inString = false;
        escaped = false;
        scalar = false;
        started = false;
    }

    /** @param c the first one is not white space */
    Where next(char c) {
        if (inString) {
            if (escaped) {
                escaped = false;
            } else if (c == '\\') {
                escaped = true;
            } else if (c == '"') {
                inString = false;
                return depth == 0 ? Where.LAST : Where.INSIDE;
            }
            return Where.INSIDE;
        }
        boolean first = !started;
        started = true;
        switch (c) {
            case '"' -> {
                if (scalar) {
                    return Where.AFTER;
                }
                inString = true;
            }
            case '{', '[' -> {
                if (scalar) {
                    return Where.AFTER;
                }
                depth++;
            }
            case '}', ']' -> {
                if (depth == 0) {
                    return Where.AFTER;
                }
                return --depth == 0 ? Where.LAST : Where.INSIDE;
            }
            default -> {
                if (depth == 0) {
                    if (!first && (c == ',' || c == ';' || c == '<' || Character.isWhitespace(c))) {
                        return Where.AFTER;
                    }
                    scalar = true;
                }
            }
        }
        return Where.INSIDE;
    }
}

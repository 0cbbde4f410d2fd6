package io.millrace.server.openai.output;

import java.util.List;

/**
 * Tells apart the parts of one text that arrives in pieces, however they are cut: what is found depends on the text alone. Text is passed on
 * as soon as it is certain what it is. For one choice, on one thread.
 */
public abstract class OutputParser {
    /** What has arrived and is not passed on. */
    final StringBuilder in = new StringBuilder();
    /** White space before {@link #in} that is content only if content follows. */
    final StringBuilder space = new StringBuilder();

    OutputParser() {}

    /** A parser of text that is content and nothing else. */
    public static OutputParser plain() {
        return new OutputParser() {
            @Override
            boolean step(OutputSink sink) {
                return false;
            }

            @Override
            public void append(String text, OutputSink sink) {
                emit(text, sink);
            }

            @Override
            public void finish(OutputSink sink) {}
        };
    }

    public void append(String text, OutputSink sink) {
        in.append(text);
        while (!in.isEmpty() && step(sink)) {
            // until it needs more text
        }
    }

    /** Takes something from the front of {@link #in}, which is not empty; false if more text is needed to decide. */
    abstract boolean step(OutputSink sink);

    /** The text has ended; what was held back is decided now. */
    public abstract void finish(OutputSink sink);

    final String take(int length) {
        String text = in.substring(0, length);
        in.delete(0, length);
        return text;
    }

    /** Takes {@code literal} from the front; false if {@link #in} does not begin with it. */
    final boolean skip(String literal) {
        if (!startsWith(literal)) {
            return false;
        }
        in.delete(0, literal.length());
        return true;
    }

    private boolean startsWith(String literal) {
        if (in.length() < literal.length()) {
            return false;
        }
        for (int i = 0; i < literal.length(); i++) {
            if (in.charAt(i) != literal.charAt(i)) {
                return false;
            }
        }
        return true;
    }

    /** Whether {@link #in} may become the beginning of one of {@code literals} as more text comes. */
    final boolean mayBecome(List<String> literals) {
        for (String literal : literals) {
            if (in.length() < literal.length() && literal.startsWith(in.toString())) {
                return true;
            }
        }
        return false;
    }

    /** Where the first of {@code literals} begins, or -1. */
    final int indexOf(List<String> literals) {
        int first = -1;
        for (String literal : literals) {
            int at = in.indexOf(literal);
            if (at >= 0 && (first < 0 || at < first)) {
                first = at;
            }
        }
        return first;
    }

    /** How much of {@link #in}, in which none of {@code literals} lies, cannot be the beginning of one. */
    final int certain(List<String> literals) {
        int length = in.length();
        int from = length;
        for (String literal : literals) {
            for (int size = Math.min(literal.length() - 1, length); size > length - from; size--) {
                if (in.indexOf(literal.substring(0, size), length - size) == length - size) {
                    from = length - size;
                }
            }
        }
        return from;
    }

    /** Takes the first {@code length} characters, with the space held before them; white space at their end is held in turn. */
    final String takeTrimmed(int length) {
        int end = trimmedLength(in, length);
        String text = end == 0 ? "" : space + in.substring(0, end);
        if (end > 0) {
            space.setLength(0);
        }
        space.append(in, end, length);
        in.delete(0, length);
        return text;
    }

    /** The space that is held; there is none afterwards. */
    final String takeSpace() {
        String text = space.toString();
        space.setLength(0);
        return text;
    }

    /** How many characters of white space {@link #in} begins with. */
    final int leadingSpace() {
        int i = 0;
        while (i < in.length() && Character.isWhitespace(in.charAt(i))) {
            i++;
        }
        return i;
    }

    /** Passes {@code text} on as content, if there is any. */
    static void emit(String text, OutputSink sink) {
        if (!text.isEmpty()) {
            sink.content(text);
        }
    }

    private static int trimmedLength(CharSequence text, int length) {
        int end = length;
        while (end > 0 && Character.isWhitespace(text.charAt(end - 1))) {
            end--;
        }
        return end;
    }
}

package io.millrace.server.openai.output;

import java.util.function.Predicate;

/**
 * Reads one call that is a JSON object, character by character: {@code {"name": ..., "arguments": {...}}}, with {@code parameters} in place of
 * {@code arguments}, an {@code id}, and {@code {"function": {...}}} around it, in any order. Arguments are passed on as they are written; those
 * that are a string of JSON are unescaped. Until the name is known nothing is passed on, so that an object which turns out to be no call can be
 * given back as text.
 */
final class JsonCallScanner {
    enum Status {
        MORE,
        /** The character was the object's last. */
        CALL,
        /** The object ended before this character, which begins a mark: its closing brace is missing. */
        CALL_BEFORE,
        NO_CALL
    }

    private enum At { OBJECT, KEY, NEXT_KEY, IN_KEY, COLON, VALUE, IN_VALUE, NEXT }

    private enum Role { NAME, ID, ARGUMENTS, OTHER }

    private final Predicate<String> isTool;
    private final JsonValueScanner value = new JsonValueScanner();
    private final JsonUnescaper unescaper = new JsonUnescaper();
    private final StringBuilder raw = new StringBuilder();
    private final StringBuilder word = new StringBuilder();
    private final StringBuilder arguments = new StringBuilder();
    private At at;
    private Role role;
    private boolean quoted;
    private boolean scalar;
    private boolean nested;
    private boolean begun;
    private boolean argued;
    private String id;
    private String name;

    /** @param isTool whether an object of this {@code name} is a call at all */
    JsonCallScanner(Predicate<String> isTool) {
        this.isTool = isTool;
    }

    void reset() {
        raw.setLength(0);
        word.setLength(0);
        arguments.setLength(0);
        at = At.OBJECT;
        nested = false;
        begun = false;
        argued = false;
        id = null;
        name = null;
    }

    /** All that was read. */
    String raw() {
        return raw.toString();
    }

    boolean hasBegun() {
        return begun;
    }

    /** Passes on the arguments that have come so far. */
    void flush(OutputSink sink) {
        // A word may turn out to be null, which stands for none.
        if (begun && !arguments.isEmpty() && !(at == At.IN_VALUE && scalar)) {
            sink.arguments(arguments.toString());
            arguments.setLength(0);
        }
    }

    /** @return CALL with the last character of the object; NO_CALL if it is none, and {@link #hasBegun} says whether the sink believed it was */
    Status next(char c, OutputSink sink) {
        raw.append(c);
        if (at == At.IN_KEY || at == At.IN_VALUE) {
            return at == At.IN_KEY ? inKey(c) : inValue(c, sink);
        }
        if (Character.isWhitespace(c)) {
            return Status.MORE;
        }
        switch (at) {
            case OBJECT -> {
                return expect(c == '{', At.KEY);
            }
            case KEY, NEXT_KEY -> {
                if (c == '}' && at == At.KEY) {
                    return ends(sink);
                }
                word.setLength(0);
                unescaper.reset();
                value.reset();
                value.next(c);
                return expect(c == '"', At.IN_KEY);
            }
            case COLON -> {
                return expect(c == ':', At.VALUE);
            }
            case VALUE -> {
                return beginValue(c, sink);
            }
            default -> {
                if (c == '}') {
                    return ends(sink);
                }
                if (c == '<' && begun) {
                    nested = false;
                    ends(sink);
                    return Status.CALL_BEFORE;
                }
                return expect(c == ',', At.NEXT_KEY);
            }
        }
    }

    private Status expect(boolean met, At next) {
        at = next;
        return met ? Status.MORE : Status.NO_CALL;
    }

    private Status inKey(char c) {
        if (value.next(c) == JsonValueScanner.Where.LAST) {
            at = At.COLON;
        } else {
            unescaper.next(c, word);
        }
        return Status.MORE;
    }

    private Status beginValue(char c, OutputSink sink) {
        String key = word.toString();
        if (key.equals("function") && c == '{' && !nested) {
            nested = true;
            at = At.KEY;
            return Status.MORE;
        }
        role = switch (key) {
            case "name", "function", "tool_name" -> c == '"' && name == null ? Role.NAME : Role.OTHER;
            case "id", "call_id", "tool_call_id" -> c == '"' ? Role.ID : Role.OTHER;
            case "arguments", "parameters", "args" -> argued ? Role.OTHER : Role.ARGUMENTS;
            default -> Role.OTHER;
        };
        argued |= role == Role.ARGUMENTS;
        quoted = c == '"';
        scalar = c != '"' && c != '{' && c != '[';
        word.setLength(0);
        unescaper.reset();
        value.reset();
        at = At.IN_VALUE;
        if (quoted) {
            value.next(c);
            return Status.MORE;
        }
        return inValue(c, sink);
    }

    private Status inValue(char c, OutputSink sink) {
        JsonValueScanner.Where where = value.next(c);
        if (where == JsonValueScanner.Where.AFTER) {
            return valueEnds(sink) == Status.NO_CALL ? Status.NO_CALL : reconsider(c, sink);
        }
        boolean closing = quoted && where == JsonValueScanner.Where.LAST;
        if (role == Role.ARGUMENTS && !quoted) {
            arguments.append(c);
        } else if (role != Role.OTHER && !closing) {
            unescaper.next(c, role == Role.ARGUMENTS ? arguments : word);
        }
        return where == JsonValueScanner.Where.LAST ? valueEnds(sink) : Status.MORE;
    }

    /** A character that ended a number or a word and is itself yet to be read; it was added to the raw text already. */
    private Status reconsider(char c, OutputSink sink) {
        raw.setLength(raw.length() - 1);
        return next(c, sink);
    }

    private Status valueEnds(OutputSink sink) {
        at = At.NEXT;
        if (role == Role.ARGUMENTS && scalar && arguments.toString().equals("null")) {
            arguments.setLength(0);
            argued = false;
        } else if (role == Role.NAME) {
            name = word.toString();
            if (!isTool.test(name)) {
                return Status.NO_CALL;
            }
        } else if (role == Role.ID) {
            id = word.toString();
        }
        begin(sink);
        return Status.MORE;
    }

    private void begin(OutputSink sink) {
        if (!begun && name != null) {
            begun = true;
            sink.call(id, name);
        }
    }

    private Status ends(OutputSink sink) {
        if (nested) {
            nested = false;
            at = At.NEXT;
            return Status.MORE;
        }
        if (!begun) {
            return Status.NO_CALL;
        }
        if (!argued) {
            arguments.append("{}");
        }
        flush(sink);
        return Status.CALL;
    }
}

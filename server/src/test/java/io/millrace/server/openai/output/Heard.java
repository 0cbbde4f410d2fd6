package io.millrace.server.openai.output;

/** Writes down what a parser finds, pieces joined: {@code content "x" | call f(id) {"a":1} | broken f {"a of <tool_call>... }. */
final class Heard implements OutputSink {
    private final StringBuilder log = new StringBuilder();
    private String kind = "";
    private final StringBuilder text = new StringBuilder();
    private String call;
    private String arguments;

    @Override
    public void content(String piece) {
        text("content", piece);
    }

    @Override
    public void reasoning(String piece) {
        text("reasoning", piece);
    }

    private void text(String what, String piece) {
        if (piece.isEmpty() || call != null && what.isEmpty()) {
            throw new AssertionError("an empty piece of " + what);
        }
        cutOff();
        if (!kind.equals(what)) {
            flush();
            kind = what;
        }
        text.append(piece);
    }

    @Override
    public void call(String id, String name) {
        cutOff();
        flush();
        call = name + (id == null ? "" : "(" + id + ")");
        arguments = "";
    }

    @Override
    public void arguments(String json) {
        if (call == null || json.isEmpty()) {
            throw new AssertionError("arguments '" + json + "' without a call, or empty");
        }
        arguments += json;
    }

    @Override
    public void callEnds() {
        if (call == null) {
            throw new AssertionError("the end of a call that did not begin");
        }
        add("call " + call + " " + arguments);
        call = null;
    }

    @Override
    public void callBreaks(String raw) {
        if (call == null) {
            throw new AssertionError("a call breaks that did not begin: " + raw);
        }
        add("broken " + call + " " + arguments + " of " + raw);
        call = null;
    }

    private void cutOff() {
        if (call != null) {
            add("cut " + call + " " + arguments);
            call = null;
        }
    }

    private void flush() {
        if (!text.isEmpty()) {
            add(kind + " \"" + text + "\"");
            text.setLength(0);
        }
        kind = "";
    }

    private void add(String event) {
        log.append(log.isEmpty() ? "" : " | ").append(event);
    }

    @Override
    public String toString() {
        cutOff();
        flush();
        return log.toString();
    }
}

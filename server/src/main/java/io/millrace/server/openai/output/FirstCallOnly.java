package io.millrace.server.openai.output;

/** Passes on all but further calls. */
final class FirstCallOnly implements OutputSink {
    private final OutputSink sink;
    private int calls;

    FirstCallOnly(OutputSink sink) {
        this.sink = sink;
    }

    @Override
    public void content(String text) {
        sink.content(text);
    }

    @Override
    public void reasoning(String text) {
        sink.reasoning(text);
    }

    @Override
    public void call(String id, String name) {
        if (++calls == 1) {
            sink.call(id, name);
        }
    }

    @Override
    public void arguments(String json) {
        if (calls == 1) {
            sink.arguments(json);
        }
    }

    @Override
    public void callEnds() {
        if (calls == 1) {
            sink.callEnds();
        }
    }
}

package io.millrace.server.openai.output;

/** Keeps from a sink what it does not want: further calls than the first, or what is no call. */
final class WantedParts implements OutputSink {
    private final OutputSink sink;
    private final int maxCalls;
    private final boolean content;
    private int calls;

    WantedParts(OutputSink sink, int maxCalls, boolean content) {
        this.sink = sink;
        this.maxCalls = maxCalls;
        this.content = content;
    }

    @Override
    public void content(String text) {
        if (content) {
            sink.content(text);
        }
    }

    @Override
    public void reasoning(String text) {
        sink.reasoning(text);
    }

    @Override
    public void call(String id, String name) {
        if (++calls <= maxCalls) {
            sink.call(id, name);
        }
    }

    @Override
    public void arguments(String json) {
        if (calls <= maxCalls) {
            sink.arguments(json);
        }
    }

    @Override
    public void callEnds() {
        if (calls <= maxCalls) {
            sink.callEnds();
        }
    }

    @Override
    public void callBreaks(String raw) {
        if (calls <= maxCalls) {
            sink.callBreaks(raw);
        }
    }
}

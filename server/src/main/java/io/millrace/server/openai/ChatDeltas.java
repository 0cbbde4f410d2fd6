package io.millrace.server.openai;

import io.millrace.server.openai.output.OutputFormat;
import io.millrace.server.openai.output.OutputParser;
import io.millrace.server.openai.output.OutputSink;
import java.util.function.Consumer;

/** The message of one choice of a stream: each piece of content, thought or call that is certain becomes a delta at once. */
final class ChatDeltas implements OutputSink {
    private final OutputFormat format;
    private final OutputParser parser;
    private final OutputSink sink;
    private final Consumer<JsonBuffer> out;
    private final JsonBuffer delta = new JsonBuffer(256);
    private int calls;
    private int callsEnded;

    /** @param out takes the delta's object, which is overwritten by the next one */
    ChatDeltas(OutputFormat format, Consumer<JsonBuffer> out) {
        this.format = format;
        this.parser = format.parser();
        this.sink = format.sink(this);
        this.out = out;
    }

    void append(String text) {
        parser.append(text, sink);
    }

    void finish(String rest) {
        parser.append(rest, sink);
        parser.finish(sink);
    }

    /** Whether there is a complete one. */
    boolean hasCalls() {
        return callsEnded > 0;
    }

    @Override
    public void content(String text) {
        delta.clear();
        delta.raw("{\"content\":").string(text).raw("}");
        out.accept(delta);
    }

    @Override
    public void reasoning(String text) {
        delta.clear();
        delta.raw("{\"reasoning\":").string(text).raw(",\"reasoning_content\":").string(text).raw("}");
        out.accept(delta);
    }

    @Override
    public void call(String id, String name) {
        openCall(calls++);
        delta.raw(",\"id\":").string(id == null ? CallIds.next(format.tools()) : id).raw(",\"type\":\"function\",\"function\":{\"name\":").string(name)
                .raw(",\"arguments\":\"\"}}]}");
        out.accept(delta);
    }

    @Override
    public void arguments(String json) {
        openCall(calls - 1);
        delta.raw(",\"function\":{\"arguments\":").string(json).raw("}}]}");
        out.accept(delta);
    }

    @Override
    public void callEnds() {
        callsEnded++;
    }

    /** Its deltas are sent; without an end it does not count. */
    @Override
    public void callBreaks(String raw) {}

    private void openCall(int index) {
        delta.clear();
        delta.raw("{\"tool_calls\":[{\"index\":").number(index);
    }
}

package io.millrace.server.openai;

import io.millrace.server.openai.output.OutputFormat;
import io.millrace.server.openai.output.OutputParser;
import io.millrace.server.openai.output.OutputSink;
import java.util.ArrayList;
import java.util.List;

/** The message of one choice, told apart into content, thoughts and calls as its text comes. */
final class ChatMessage {
    private record Call(String id, String name, StringBuilder arguments) {}

    private final OutputFormat format;
    private final OutputParser parser;
    private final OutputSink sink;
    private final StringBuilder content = new StringBuilder();
    private final StringBuilder reasoning = new StringBuilder();
    private final List<Call> calls = new ArrayList<>();
    private Call open;
    private boolean cutOff;

    /** @param format null = all is content */
    ChatMessage(OutputFormat format) {
        this.format = format;
        OutputSink parts = new Parts();
        parser = format == null ? OutputParser.plain() : format.parser();
        sink = format == null ? parts : format.sink(parts);
    }

    private final class Parts implements OutputSink {
        @Override
        public void content(String text) {
            content.append(text);
        }

        @Override
        public void reasoning(String text) {
            reasoning.append(text);
        }

        @Override
        public void call(String id, String name) {
            open = new Call(id == null ? CallIds.next(format.tools()) : id, name, new StringBuilder());
        }

        @Override
        public void arguments(String json) {
            open.arguments.append(json);
        }

        /** Only now: half a call is none. */
        @Override
        public void callEnds() {
            calls.add(open);
        }

        @Override
        public void callBreaks(String raw) {
            // Of a text that was cut off there is no more to know; of any other, nothing may be lost.
            if (!cutOff) {
                content.append(raw);
            }
        }
    }

    void append(String text) {
        parser.append(text, sink);
    }

    /** @param atLength whether the text ended because it had its length */
    void finish(boolean atLength) {
        cutOff = atLength;
        parser.finish(sink);
    }

    boolean hasCalls() {
        return !calls.isEmpty();
    }

    void writeTo(JsonBuffer json) {
        json.raw("{\"role\":\"assistant\",\"content\":").string(content.isEmpty() && hasCalls() ? null : content).raw(",\"refusal\":null");
        if (!reasoning.isEmpty()) {
            json.raw(",\"reasoning\":").string(reasoning).raw(",\"reasoning_content\":").string(reasoning);
        }
        if (hasCalls()) {
            json.raw(",\"tool_calls\":[");
            for (int i = 0; i < calls.size(); i++) {
                Call call = calls.get(i);
                json.raw(i == 0 ? "" : ",").raw("{\"id\":").string(call.id).raw(",\"type\":\"function\",\"function\":{\"name\":").string(call.name)
                        .raw(",\"arguments\":").string(call.arguments).raw("}}");
            }
            json.raw("]");
        }
        json.raw("}");
    }
}

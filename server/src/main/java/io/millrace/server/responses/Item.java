package io.millrace.server.responses;

import io.millrace.server.openai.JsonBuffer;

/** One item of an answer's output, as far as it has come. */
final class Item {
    enum Kind { REASONING, MESSAGE, CALL }

    private final Kind kind;
    private final String id;
    private final String callId;
    private final String name;
    private final StringBuilder text = new StringBuilder();
    private boolean complete;

    /** @param callId and {@code name}: of a call, else null */
    Item(Kind kind, String id, String callId, String name) {
        this.kind = kind;
        this.id = id;
        this.callId = callId;
        this.name = name;
    }

    Kind kind() {
        return kind;
    }

    String id() {
        return id;
    }

    StringBuilder text() {
        return text;
    }

    void complete() {
        complete = true;
    }

    /** @param begun whether the item is to be shown as it was when it began: without its text */
    void writeTo(JsonBuffer json, boolean begun) {
        json.raw("{\"id\":").string(id).raw(",\"status\":\"").raw(begun ? "in_progress" : complete ? "completed" : "incomplete").raw("\"");
        switch (kind) {
            case REASONING -> {
                json.raw(",\"type\":\"reasoning\",\"summary\":[],\"content\":[");
                if (!begun) {
                    writePart(json, false);
                }
                json.raw("]");
            }
            case MESSAGE -> {
                json.raw(",\"type\":\"message\",\"role\":\"assistant\",\"content\":[");
                if (!begun) {
                    writePart(json, false);
                }
                json.raw("]");
            }
            case CALL -> json.raw(",\"type\":\"function_call\",\"call_id\":").string(callId).raw(",\"name\":").string(name)
                    .raw(",\"arguments\":").string(begun ? "" : text);
        }
        json.raw("}");
    }

    /** The content part that reasoning and messages have one of. */
    void writePart(JsonBuffer json, boolean begun) {
        json.raw(kind == Kind.REASONING ? "{\"type\":\"reasoning_text\",\"text\":" : "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":")
                .string(begun ? "" : text).raw("}");
    }
}

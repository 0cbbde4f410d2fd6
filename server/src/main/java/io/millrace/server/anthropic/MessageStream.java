package io.millrace.server.anthropic;

import io.millrace.server.openai.Answer;
import io.millrace.server.openai.ApiException;
import io.millrace.server.openai.Generation;
import io.millrace.server.openai.JsonBuffer;
import io.millrace.server.openai.SingleAnswer;

/**
 * An answer as the protocol's events: {@code message_start}, then for each content block {@code content_block_start}, deltas and
 * {@code content_block_stop}, then {@code message_delta} with the reason and {@code message_stop}.
 */
public final class MessageStream extends SingleAnswer implements Answer.Stream {
    private final JsonBuffer events = new JsonBuffer(2048);
    private int index = -1;
    /** The type of the block that is open, or null. */
    private String open;
    private boolean complete;

    public MessageStream(Generation generation) {
        super(generation);
    }

    @Override
    public JsonBuffer next(long nanos) {
        events.clear();
        advance(nanos);
        return events;
    }

    @Override
    public boolean isComplete() {
        return complete;
    }

    @Override
    public JsonBuffer failure(ApiException error) {
        JsonBuffer json = new JsonBuffer(256).raw("event: error\ndata: ");
        MessagesError.write(error, json);
        return json.raw("\n\n");
    }

    private JsonBuffer event(String type) {
        return events.raw("event: ").raw(type).raw("\ndata: {\"type\":\"").raw(type).raw("\"");
    }

    private void end() {
        events.raw("}\n\n");
    }

    @Override
    protected void begins() {
        event("message_start").raw(",\"message\":{\"id\":").string(newCallId("msg_"))
                .raw(",\"type\":\"message\",\"role\":\"assistant\",\"model\":").string(model())
                .raw(",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,");
        Stops.writeUsage(promptTokens(), cachedTokens(), 0, events);
        events.raw("}");
        end();
    }

    @Override
    public void content(String text) {
        block("text", "\"text\":\"\"");
        delta("text_delta", "text", text);
    }

    @Override
    public void reasoning(String text) {
        block("thinking", "\"thinking\":\"\",\"signature\":\"\"");
        delta("thinking_delta", "thinking", text);
    }

    @Override
    public void call(String id, String name) {
        close();
        open = "tool_use";
        event("content_block_start").raw(",\"index\":").number(++index).raw(",\"content_block\":{\"type\":\"tool_use\",\"id\":")
                .string(id == null ? newCallId("toolu_") : id).raw(",\"name\":").string(name).raw(",\"input\":{}}");
        end();
    }

    @Override
    public void arguments(String json) {
        delta("input_json_delta", "partial_json", json);
    }

    @Override
    public void callEnds() {
        called();
        close();
    }

    @Override
    public void callBreaks(String raw) {
        close();
    }

    private void block(String type, String fields) {
        if (type.equals(open)) {
            return;
        }
        close();
        open = type;
        event("content_block_start").raw(",\"index\":").number(++index).raw(",\"content_block\":{\"type\":\"").raw(type).raw("\",").raw(fields)
                .raw("}");
        end();
    }

    private void delta(String type, String field, String text) {
        event("content_block_delta").raw(",\"index\":").number(index).raw(",\"delta\":{\"type\":\"").raw(type).raw("\",\"").raw(field).raw("\":")
                .string(text).raw("}");
        end();
    }

    private void close() {
        if (open != null) {
            event("content_block_stop").raw(",\"index\":").number(index);
            end();
            open = null;
        }
    }

    @Override
    protected void ends(String reason, String stopString) {
        close();
        event("message_delta").raw(",\"delta\":{");
        Stops.write(reason, stopString, events);
        events.raw("},");
        Stops.writeUsage(promptTokens(), cachedTokens(), outputTokens(), events);
        end();
        event("message_stop");
        end();
        complete = true;
    }
}

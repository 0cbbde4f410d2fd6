package io.millrace.server.responses;

import io.millrace.server.openai.Answer;
import io.millrace.server.openai.ApiException;
import io.millrace.server.openai.Generation;
import io.millrace.server.openai.JsonBuffer;

/** An answer as the protocol's events, numbered: the response, its items, their content parts and the growth of their text. */
public final class ResponseStream extends ResponseParts implements Answer.Stream {
    private final JsonBuffer events = new JsonBuffer(4096);
    private int sequence;
    private boolean complete;

    public ResponseStream(Generation generation, ResponseHead head) {
        super(generation, head);
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
        return new JsonBuffer(256).raw("event: error\ndata: {\"type\":\"error\",\"sequence_number\":").number(sequence++).raw(",\"code\":").string(error.code())
                .raw(",\"message\":").string(error.getMessage()).raw(",\"param\":").string(error.param()).raw("}\n\n");
    }

    private JsonBuffer event(String type) {
        return events.raw("event: ").raw(type).raw("\ndata: {\"type\":\"").raw(type).raw("\",\"sequence_number\":").number(sequence++);
    }

    private void end() {
        events.raw("}\n\n");
    }

    private void response(String type, boolean running) {
        event(type).raw(",\"response\":");
        writeResponse(events, running);
        end();
    }

    /** With where the event belongs: item and content part. */
    private JsonBuffer partEvent(String type, Item item) {
        event(type).raw(",\"item_id\":").string(item.id()).raw(",\"output_index\":").number(lastIndex());
        return item.kind() == Item.Kind.CALL ? events : events.raw(",\"content_index\":0");
    }

    private static String growth(Item item) {
        return switch (item.kind()) {
            case MESSAGE -> "response.output_text";
            case REASONING -> "response.reasoning_text";
            case CALL -> "response.function_call_arguments";
        };
    }

    @Override
    protected void begins() {
        response("response.created", true);
        response("response.in_progress", true);
    }

    @Override
    void itemBegins(Item item) {
        event("response.output_item.added").raw(",\"output_index\":").number(lastIndex()).raw(",\"item\":");
        item.writeTo(events, true);
        end();
        if (item.kind() != Item.Kind.CALL) {
            partEvent("response.content_part.added", item).raw(",\"part\":");
            item.writePart(events, true);
            end();
        }
    }

    @Override
    void itemGrows(Item item, String text) {
        partEvent(growth(item) + ".delta", item).raw(",\"delta\":").string(text).raw(item.kind() == Item.Kind.MESSAGE ? ",\"logprobs\":[]" : "");
        end();
    }

    @Override
    void itemEnds(Item item) {
        String field = item.kind() == Item.Kind.CALL ? ",\"arguments\":" : ",\"text\":";
        partEvent(growth(item) + ".done", item).raw(field).string(item.text())
                .raw(item.kind() == Item.Kind.MESSAGE ? ",\"logprobs\":[]" : "");
        end();
        if (item.kind() != Item.Kind.CALL) {
            partEvent("response.content_part.done", item).raw(",\"part\":");
            item.writePart(events, false);
            end();
        }
        event("response.output_item.done").raw(",\"output_index\":").number(lastIndex()).raw(",\"item\":");
        item.writeTo(events, false);
        end();
    }

    @Override
    void finished() {
        response(isCutOff() ? "response.incomplete" : "response.completed", false);
        complete = true;
    }
}

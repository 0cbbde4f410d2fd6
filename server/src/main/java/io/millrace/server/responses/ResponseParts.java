package io.millrace.server.responses;

import io.millrace.server.openai.Generation;
import io.millrace.server.openai.JsonBuffer;
import io.millrace.server.openai.SingleAnswer;
import java.util.ArrayList;
import java.util.List;

/** The items of one answer as they come, and the response object around them. */
abstract class ResponseParts extends SingleAnswer {
    private final ResponseHead head;
    private final String id = newCallId("resp_");
    private final long createdAt = System.currentTimeMillis() / 1000;
    private final List<Item> items = new ArrayList<>();
    /** Items that have ended: all, or all but the last. */
    private int ended;
    private String reason;

    ResponseParts(Generation generation, ResponseHead head) {
        super(generation);
        this.head = head;
    }

    /** {@code items} has a new last one. */
    abstract void itemBegins(Item item);

    abstract void itemGrows(Item item, String text);

    abstract void itemEnds(Item item);

    final int lastIndex() {
        return items.size() - 1;
    }

    @Override
    public final void content(String text) {
        grow(Item.Kind.MESSAGE, "msg_", text);
    }

    @Override
    public final void reasoning(String text) {
        grow(Item.Kind.REASONING, "rs_", text);
    }

    private void grow(Item.Kind kind, String prefix, String text) {
        Item last = open();
        if (last == null || last.kind() != kind) {
            end(last);
            last = begin(new Item(kind, newCallId(prefix), null, null));
        }
        last.text().append(text);
        itemGrows(last, text);
    }

    @Override
    public final void call(String callId, String name) {
        end(open());
        begin(new Item(Item.Kind.CALL, newCallId("fc_"), callId == null ? newCallId("call_") : callId, name));
    }

    @Override
    public final void arguments(String json) {
        items.getLast().text().append(json);
        itemGrows(items.getLast(), json);
    }

    @Override
    public final void callEnds() {
        called();
        end(items.getLast());
    }

    @Override
    public final void callBreaks(String raw) {
        ended = items.size();
        itemEnds(items.getLast()); // and stays incomplete
    }

    /** The last item, unless it has ended. */
    private Item open() {
        return items.size() > ended ? items.getLast() : null;
    }

    private Item begin(Item item) {
        items.add(item);
        itemBegins(item);
        return item;
    }

    private void end(Item item) {
        if (item != null) {
            item.complete();
            ended = items.size();
            itemEnds(item);
        }
    }

    /** The last item of an answer that was cut off is marked as incomplete, and so is a call that the model did not finish. */
    @Override
    protected final void ends(String endReason, String stopString) {
        reason = endReason;
        Item last = open();
        if (last != null) {
            if (last.kind() != Item.Kind.CALL && !isCutOff()) {
                last.complete();
            }
            ended = items.size();
            itemEnds(last);
        }
        finished();
    }

    /** The answer is complete. */
    abstract void finished();

    final boolean isCutOff() {
        return "length".equals(reason);
    }

    /** @param running whether to write it as it was before its first item */
    final void writeResponse(JsonBuffer json, boolean running) {
        json.raw("{\"id\":").string(id).raw(",\"object\":\"response\",\"created_at\":").number(createdAt).raw(",\"status\":\"")
                .raw(running ? "in_progress" : isCutOff() ? "incomplete" : "completed").raw("\",\"error\":null,\"incomplete_details\":")
                .raw(!running && isCutOff() ? "{\"reason\":\"max_output_tokens\"}" : "null").raw(",\"model\":").string(model()).raw(",\"output\":[");
        for (int i = 0; i < items.size() && !running; i++) {
            json.raw(i == 0 ? "" : ",");
            items.get(i).writeTo(json, false);
        }
        json.raw("]");
        head.writeTo(json);
        if (running) {
            json.raw(",\"usage\":null}");
            return;
        }
        json.raw(",\"usage\":{\"input_tokens\":").number(promptTokens()).raw(",\"input_tokens_details\":{\"cached_tokens\":").number(cachedTokens())
                .raw("},\"output_tokens\":").number(outputTokens()).raw(",\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":")
                .number((long) promptTokens() + outputTokens()).raw("}}");
    }
}

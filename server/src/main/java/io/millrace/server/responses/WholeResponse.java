package io.millrace.server.responses;

import io.millrace.server.openai.Answer;
import io.millrace.server.openai.Generation;
import io.millrace.server.openai.JsonBuffer;

/** An answer as one response object. */
public final class WholeResponse extends ResponseParts implements Answer.Whole {
    public WholeResponse(Generation generation, ResponseHead head) {
        super(generation, head);
    }

    @Override
    public void await() {
        advanceToTheEnd();
    }

    @Override
    protected void begins() {}

    @Override
    void itemBegins(Item item) {}

    @Override
    void itemGrows(Item item, String text) {}

    @Override
    void itemEnds(Item item) {}

    @Override
    void finished() {}

    @Override
    public JsonBuffer toJson() {
        JsonBuffer json = new JsonBuffer(2048);
        writeResponse(json, false);
        return json;
    }
}

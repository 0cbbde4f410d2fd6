package io.millrace.server.openai;

/** What every object and chunk of one answer begins with: id, object, created, model. Encoded once. */
final class Envelope {
    private final byte[] head;

    private Envelope(byte[] head) {
        this.head = head;
    }

    static Envelope of(GenerateRequest request) {
        String object = request.chat() ? (request.stream() ? "chat.completion.chunk" : "chat.completion") : "text_completion";
        JsonBuffer json = new JsonBuffer(160);
        json.raw("{\"id\":").string((request.chat() ? "chatcmpl-" : "cmpl-") + CallIds.random(24)).raw(",\"object\":\"").raw(object)
                .raw("\",\"created\":").number(System.currentTimeMillis() / 1000).raw(",\"model\":").string(request.model())
                .raw(",\"choices\":[");
        return new Envelope(json.toByteArray());
    }

    /** Up to and including the opening bracket of {@code choices}. */
    void open(JsonBuffer json) {
        json.raw(head);
    }
}

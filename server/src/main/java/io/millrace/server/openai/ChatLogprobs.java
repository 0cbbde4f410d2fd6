package io.millrace.server.openai;

/** {@code {"content":[{token, logprob, bytes, top_logprobs}]}}. */
final class ChatLogprobs implements Logprobs {
    private final TokenText tokens;
    private final JsonBuffer entries = new JsonBuffer(512);

    ChatLogprobs(TokenText tokens) {
        this.tokens = tokens;
    }

    @Override
    public void add(TokenQueue queue, String text) {
        entries.raw(entries.isEmpty() ? "" : ",");
        writeToken(queue.token(), queue.logprob());
        entries.raw(",\"top_logprobs\":[");
        for (int k = 0; k < queue.numTop(); k++) {
            entries.raw(k == 0 ? "" : ",");
            writeToken(queue.topId(k), queue.topLogprob(k));
            entries.raw("}");
        }
        entries.raw("]}");
    }

    private void writeToken(int id, float logprob) {
        byte[] bytes = tokens.bytes(id);
        entries.raw("{\"token\":").string(TokenText.of(bytes)).raw(",\"logprob\":").number(logprob).raw(",\"bytes\":[");
        for (int i = 0; i < bytes.length; i++) {
            entries.raw(i == 0 ? "" : ",").number(bytes[i] & 0xff);
        }
        entries.raw("]");
    }

    @Override
    public void writeTo(JsonBuffer json) {
        json.raw("{\"content\":[").raw(entries).raw("],\"refusal\":null}");
    }

    @Override
    public void clear() {
        entries.clear();
    }

    @Override
    public boolean isEmpty() {
        return entries.isEmpty();
    }
}

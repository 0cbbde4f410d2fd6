package io.millrace.server.openai;

/** Collects the log-probabilities of one choice as JSON, in the format of its endpoint. Reused from event to event in a stream. */
sealed interface Logprobs permits ChatLogprobs, CompletionLogprobs {
    /** The token at the front of {@code queue}; {@code text} is what it added to the answer. */
    void add(TokenQueue queue, String text);

    /** Writes the value of {@code logprobs} for what was added since the last {@link #clear}. */
    void writeTo(JsonBuffer json);

    void clear();

    /** Whether there is nothing to write. */
    boolean isEmpty();
}

package io.millrace.scheduler;

/** A submitted request. Thread-safe. */
public interface RequestHandle {
    long id();

    /** Ends the request within one step and frees its blocks; the sink gets {@link FinishReason#ABORT}. Idempotent, harmless after the end. */
    void abort();

    /** Prompt tokens whose KV was found in the prefix cache; 0 until first scheduled. */
    int numCachedTokens();
}

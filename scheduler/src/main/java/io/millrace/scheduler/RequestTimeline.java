package io.millrace.scheduler;

/**
 * What is known of a request when it ends, for metrics. A live view: read it during the call that passes it, keep nothing. Times come
 * from the scheduler's clock (nanoseconds, origin arbitrary); 0 where the event never happened.
 */
public interface RequestTimeline {
    long id();

    int numPromptTokens();

    int numOutputTokens();

    /** Output tokens asked for at most. */
    int maxTokens();

    /** Prompt tokens found in the prefix cache. */
    int numCachedTokens();

    int numPreemptions();

    long arrivalNanos();

    long firstScheduledNanos();

    long firstTokenNanos();

    long lastTokenNanos();

    long finishNanos();
}

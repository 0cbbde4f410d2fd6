package io.millrace.scheduler;

/**
 * What a metrics system wants to know. Called on the engine thread, except {@link #onRejected}: implementations copy numbers, never
 * block and allocate nothing. One that throws is dropped after a log line; serving goes on.
 */
public interface SchedulerListener {
    /** Observes nothing. */
    SchedulerListener NONE = new SchedulerListener() {};

    /** A step is done; {@code stats} is reused by the next one. */
    default void onStep(StepStats stats) {}

    /** A request runs for the first time, after {@code queueNanos} in the queue. */
    default void onAdmitted(long queueNanos) {}

    /** A request's prompt has been computed, for the first time if it was preempted since; {@code request} is valid during the call only. */
    default void onPrefilled(RequestTimeline request) {}

    /**
     * A request lost its blocks and will be recomputed.
     *
     * @param fruitless whether it had done nothing new since it was preempted before
     */
    default void onPreempted(boolean fruitless) {}

    /** A request's first output token, {@code nanos} after its arrival. */
    default void onFirstToken(long nanos) {}

    /** A later output token, {@code nanos} after the one before. */
    default void onNextToken(long nanos) {}

    /** A request ended; {@code request} is valid during the call only. */
    default void onFinished(RequestTimeline request, FinishReason reason) {}

    /** A request was refused. Called on the submitting thread, by many at once. */
    default void onRejected(RejectedException.Kind kind) {}
}

package io.millrace.scheduler;

/** Why a request ended. */
public enum FinishReason {
    /** An end-of-sequence or stop token was produced. */
    STOP,
    /** max_tokens or the context length was reached. */
    LENGTH,
    /** The client went away or asked for it. */
    ABORT,
    /** Its deadline passed, or can no longer be met. */
    TIMEOUT,
    /** The engine failed, or found that this sequence cannot go on ({@link io.millrace.engine.Sequence#failure}). */
    ERROR
}

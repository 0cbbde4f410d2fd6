package io.millrace.scheduler;

/** A request was not admitted. */
public final class RejectedException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /**
     * What kind of refusal. Trying again may help after {@code QUEUE_FULL}, {@code TENANT_BUSY}, {@code TENANT_RATE} and {@code STALLED}; never
     * after {@code TOO_LONG} and {@code TOO_MANY}.
     */
    public enum Kind { QUEUE_FULL, TOO_LONG, TOO_MANY, SHUTTING_DOWN, ENGINE_DEAD, STALLED, TENANT_BUSY, TENANT_RATE }

    private final Kind kind;
    private final int retryAfterSeconds;

    public RejectedException(Kind kind, String message, int retryAfterSeconds) {
        super(message);
        this.kind = kind;
        this.retryAfterSeconds = retryAfterSeconds;
    }

    public Kind kind() {
        return kind;
    }

    /** Honest estimate; 0 where trying again is pointless. */
    public int retryAfterSeconds() {
        return retryAfterSeconds;
    }
}

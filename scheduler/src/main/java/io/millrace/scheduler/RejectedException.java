package io.millrace.scheduler;

/** A request was not admitted. */
public final class RejectedException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /**
     * What kind of refusal. Trying again may help after {@code QUEUE_FULL}, {@code TENANT_BUSY}, {@code TENANT_RATE} and {@code STALLED}; never
     * after {@code TOO_LONG} and {@code TOO_MANY}.
     */
    public enum Kind {
        QUEUE_FULL("rate_limit_exceeded"), TOO_LONG("context_length_exceeded"), TOO_MANY("too_many_choices"), SHUTTING_DOWN("shutting_down"),
        ENGINE_DEAD("engine_dead"), STALLED("engine_stalled"), TENANT_BUSY("key_concurrency_exceeded"), TENANT_RATE("key_token_rate_exceeded");

        private final String code;

        Kind(String code) {
            this.code = code;
        }

        /** The stable word for programs: in HTTP errors, metrics and reports. */
        public String code() {
            return code;
        }
    }

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

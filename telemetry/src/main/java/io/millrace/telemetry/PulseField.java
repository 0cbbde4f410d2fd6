package io.millrace.telemetry;

/**
 * The numbers of a pulse, in the order in which they lie in memory. All are int64; times are {@link System#nanoTime} points or
 * nanoseconds. A field that a step has no value for is 0.
 *
 * <pre>
 *   slot of 16 longs = two cache lines
 *   | version | STEP_ID START ... SCHEDULE EXECUTE SETTLE | CPU RUN_QUEUE | TOKENS SEQUENCES KV | spare |
 * </pre>
 */
public enum PulseField {
    STEP_ID,
    /** When the step began. */
    START_NANOS,
    SCHEDULE_NANOS,
    EXECUTE_NANOS,
    SETTLE_NANOS,
    /** CPU time of the thread since the pulse before: beside the step's time it tells computing from waiting. */
    CPU_NANOS,
    /** Time since the pulse before in which the thread could have run but another had its core. */
    RUN_QUEUE_NANOS,
    TOKENS,
    SEQUENCES,
    KV_BLOCKS_USED;

    static final int COUNT = values().length;
}

package io.millrace.telemetry;

/**
 * The numbers of a pulse, in the order in which they lie in memory. All are int64; times are {@link System#nanoTime} points or
 * nanoseconds. A field that a step has no value for is 0.
 *
 * <pre>
 *   slot of 16 longs = two cache lines
 *   | version | STEP_ID START ... SCHEDULE EXECUTE SETTLE | CPU RUN_QUEUE | TOKENS SEQUENCES KV | ARRIVAL WAIT TRANSFER BYTES | flags |
 * </pre>
 */
public enum PulseField {
    STEP_ID,
    /** When the step began. */
    START_NANOS,
    SCHEDULE_NANOS,
    EXECUTE_NANOS,
    SETTLE_NANOS,
    /** CPU time of the thread, or device time: compared with EXECUTE_NANOS it tells computing from waiting. */
    CPU_NANOS,
    /** Time in which the thread could have run but another had its core. */
    RUN_QUEUE_NANOS,
    TOKENS,
    SEQUENCES,
    KV_BLOCKS_USED,
    /** When this rank reached the step's first collective. */
    COLLECTIVE_ARRIVAL_NANOS,
    /** Time spent waiting for other ranks. */
    COLLECTIVE_WAIT_NANOS,
    /** Time spent moving data between ranks. */
    COLLECTIVE_TRANSFER_NANOS,
    COLLECTIVE_BYTES,
    /** Bits for what else happened in the step. */
    FLAGS;

    static final int COUNT = values().length;
}

package io.millrace.telemetry;

import java.util.Locale;
import java.util.concurrent.atomic.AtomicLongArray;

/**
 * Rates over the last ten seconds, from half-second buckets. One thread records; any thread takes a {@link Snapshot}. A bucket that is
 * reused while it is read is left out of that snapshot. Recording allocates nothing and never waits.
 */
public final class StepWindow {
    private static final long BUCKET_NANOS = 500_000_000L;
    private static final int BUCKETS = 20;
    private static final int ID = 0;
    private static final int STEPS = 1;
    private static final int PREFILL = 2;
    private static final int DECODE = 3;
    private static final int SEQUENCES = 4;
    private static final int BUSY = 5;
    private static final int FIELDS = 8;

    /**
     * @param prefillTokensPerSecond prompt tokens computed
     * @param decodeTokensPerSecond  output tokens computed
     * @param meanBatch              sequences per step
     * @param busy                   share of the time in which a step was running, 0 to 1
     * @param kvUsage                share of the KV blocks in use after the last step, 0 to 1
     */
    public record Snapshot(double prefillTokensPerSecond, double decodeTokensPerSecond, double stepsPerSecond, double meanBatch,
            double busy, int numRunning, int numWaiting, double kvUsage) {
        /** Nothing ran in the window: no log line is due. */
        public boolean isIdle() {
            return stepsPerSecond == 0;
        }

        /** One line for the log: the rates of the window, and the load now. */
        public String line() {
            return String.format(Locale.ROOT,
                    "last 10 s: prefill %.1f tok/s, decode %.1f tok/s, %.1f steps/s of %.1f sequences, busy %.0f %%; now %d sequences running, %d waiting, "
                            + "KV %.1f %%",
                    prefillTokensPerSecond, decodeTokensPerSecond, stepsPerSecond, meanBatch, 100 * busy, numRunning, numWaiting,
                    100 * kvUsage);
        }
    }

    private final AtomicLongArray buckets = new AtomicLongArray(BUCKETS * FIELDS);
    private final long startNanos;
    private volatile int numRunning;
    private volatile int numWaiting;
    private volatile double kvUsage;

    /** @param nowNanos the clock that {@link #record} and {@link #snapshot} will use */
    public StepWindow(long nowNanos) {
        startNanos = nowNanos;
        for (int b = 0; b < BUCKETS; b++) {
            buckets.set(b * FIELDS, -1);
        }
    }

    /** A step of {@code busyNanos} ended at {@code nowNanos}. */
    public void record(long nowNanos, int numPrefillTokens, int numDecodeTokens, int numSequences, long busyNanos, int running, int waiting,
            double kvShare) {
        long id = Math.max(0, nowNanos - startNanos) / BUCKET_NANOS;
        int at = (int) (id % BUCKETS) * FIELDS;
        if (buckets.getPlain(at) != id) {
            buckets.set(at, -1);
            for (int f = 1; f < FIELDS; f++) {
                buckets.set(at + f, 0);
            }
            buckets.set(at, id);
        }
        add(at + STEPS, 1);
        add(at + PREFILL, numPrefillTokens);
        add(at + DECODE, numDecodeTokens);
        add(at + SEQUENCES, numSequences);
        add(at + BUSY, busyNanos);
        setLoad(running, waiting, kvShare);
    }

    /** The present load alone, for a change without a step. */
    public void setLoad(int running, int waiting, double kvShare) {
        numRunning = running;
        numWaiting = waiting;
        kvUsage = kvShare;
    }

    private void add(int index, long amount) {
        buckets.setRelease(index, buckets.getPlain(index) + amount); // One writer: no read-modify-write is needed.
    }

    public Snapshot snapshot(long nowNanos) {
        long now = Math.max(0, nowNanos - startNanos);
        long last = now / BUCKET_NANOS;
        long first = Math.max(0, last - BUCKETS + 1);
        long[] sums = new long[FIELDS];
        long[] values = new long[FIELDS];
        for (long id = first; id <= last; id++) {
            int at = (int) (id % BUCKETS) * FIELDS;
            if (buckets.get(at + ID) != id) {
                continue;
            }
            for (int f = 1; f < FIELDS; f++) {
                values[f] = buckets.get(at + f);
            }
            if (buckets.get(at + ID) == id) {
                for (int f = 1; f < FIELDS; f++) {
                    sums[f] += values[f];
                }
            }
        }
        double seconds = Math.max(1e-9, (now - first * BUCKET_NANOS) * 1e-9);
        return new Snapshot(sums[PREFILL] / seconds, sums[DECODE] / seconds, sums[STEPS] / seconds,
                sums[STEPS] == 0 ? 0 : (double) sums[SEQUENCES] / sums[STEPS], Math.min(1, sums[BUSY] * 1e-9 / seconds), numRunning,
                numWaiting, kvUsage);
    }
}

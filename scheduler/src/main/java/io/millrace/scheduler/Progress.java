package io.millrace.scheduler;

/**
 * What other threads may read of the scheduler: written by the engine thread alone, so increments need no atomics. A reader sees each
 * number whole and at most one step old; numbers of one moment need not belong together. Counters that concern a request are up to
 * date before its sink is told of its end.
 */
final class Progress {
    volatile int numRunning;
    volatile int numWaiting;
    volatile int numFreeBlocks;
    /** Known tokens of the waiting requests. */
    volatile long numWaitingTokens;
    /** Prompt tokens that were admitted and wait no more for their first step. */
    volatile long numUnqueuedTokens;
    volatile long numSteps;
    volatile long numFinished;
    volatile long numPreemptions;
    /** Of these, how many hit a request that had done nothing new since it was preempted before. */
    volatile long numFruitlessPreemptions;
    /** When a step was settled last; when the scheduler was made, before the first. */
    volatile long lastStepNanos;
    /** The slowest step of late: decays by half in 710 steps. */
    volatile long slowestStepNanos;

    void onStepTook(long nanos) {
        long slowest = slowestStepNanos;
        slowestStepNanos = Math.max(nanos, slowest - (slowest >> 10));
    }

    @Override
    public String toString() {
        return numRunning + " running, " + numWaiting + " waiting with " + numWaitingTokens + " tokens, " + numFreeBlocks + " blocks free, "
                + numSteps + " steps, " + numFinished + " requests ended";
    }
}

package io.millrace.scheduler;

import io.millrace.engine.StepPlan;

/**
 * Numbers of one step, reused for every step: read them during {@link SchedulerListener#onStep}, keep nothing.
 */
public final class StepStats {
    private long stepId;
    private int numRunning;
    private int numWaiting;
    private int numPrefillTokens;
    private int numDecodeTokens;
    private int numSequences;
    private int numFreeBlocks;
    private int numBlocks;
    private long startNanos;
    private long scheduleNanos;
    private long executeNanos;
    private long settleNanos;
    private boolean overlapped;
    private long runnerThreadId;

    StepStats() {}

    /** Called before the step is settled: afterwards the sequences have grown. */
    void setPlan(StepPlan plan) {
        stepId = plan.stepId();
        numSequences = plan.size();
        numPrefillTokens = 0;
        for (int i = 0; i < plan.size(); i++) {
            int promptLeft = plan.sequence(i).numPromptTokens() - plan.firstPosition(i);
            numPrefillTokens += Math.clamp(promptLeft, 0, plan.numTokens(i));
        }
        numDecodeTokens = plan.totalTokens() - numPrefillTokens;
    }

    void setOutcome(Progress progress, int totalBlocks, long start, long scheduling, long executing, long settling,
            boolean beside, long runner) {
        numRunning = progress.numRunning;
        numWaiting = progress.numWaiting;
        numFreeBlocks = progress.numFreeBlocks;
        numBlocks = totalBlocks;
        startNanos = start;
        scheduleNanos = scheduling;
        executeNanos = executing;
        settleNanos = settling;
        overlapped = beside;
        runnerThreadId = runner;
    }

    public long stepId() {
        return stepId;
    }

    /** Requests that hold a place after the step. */
    public int numRunning() {
        return numRunning;
    }

    public int numWaiting() {
        return numWaiting;
    }

    /** Prompt tokens computed, those computed again after a preemption included. */
    public int numPrefillTokens() {
        return numPrefillTokens;
    }

    /** Output tokens computed, those computed again after a preemption included. */
    public int numDecodeTokens() {
        return numDecodeTokens;
    }

    /** Sequences in the step. */
    public int numSequences() {
        return numSequences;
    }

    public int numFreeBlocks() {
        return numFreeBlocks;
    }

    public int numBlocks() {
        return numBlocks;
    }

    /** When the step began, by the loop's clock. */
    public long startNanos() {
        return startNanos;
    }

    public long scheduleNanos() {
        return scheduleNanos;
    }

    public long executeNanos() {
        return executeNanos;
    }

    public long settleNanos() {
        return settleNanos;
    }

    /** Whether another step was under way when this one was settled: planning it was hidden. */
    public boolean overlapped() {
        return overlapped;
    }

    /** Of the thread that ran the step; -1 if the engine thread did. */
    public long runnerThreadId() {
        return runnerThreadId;
    }
}

package io.millrace.scheduler;

import io.millrace.engine.EngineLimits;
import io.millrace.engine.Sequence;

/**
 * What is left of one step's tokens and logit rows, and how much of them a request may take. Reset for every step; a request that is
 * preempted within the step it was planned for gives its share back.
 */
final class StepBudget {
    private final int maxTokens;
    private final int maxRows;
    private final int maxPrefillChunk;
    private int tokensLeft;
    private int rowsLeft;

    StepBudget(EngineLimits limits, int maxTokens, int maxPrefillChunk) {
        this.maxTokens = maxTokens;
        this.maxRows = limits.maxLogitRows();
        this.maxPrefillChunk = maxPrefillChunk;
    }

    void reset() {
        tokensLeft = maxTokens;
        rowsLeft = maxRows;
    }

    boolean isSpent() {
        return tokensLeft == 0 || rowsLeft == 0;
    }

    /**
     * Tokens of {@code request} that the budgets allow in this step; sets whether they are scored. A running request finds at least
     * one token and one logit row unless older prompts took them.
     */
    int chunk(RequestState request) {
        Sequence sequence = request.sequence;
        int first = sequence.numComputedTokens();
        int remaining = request.numRemaining();
        int count = Math.min(remaining, Math.min(tokensLeft, maxPrefillChunk));
        boolean scoring = request.scoresPrompt();
        if (scoring && first < request.numScoredTokens - 1) {
            // Recomputed after a preemption: these rows were handed out already, and logit rows are dear.
            count = Math.min(count, request.numScoredTokens - 1 - first);
            scoring = false;
        }
        request.scheduledScoring = scoring;
        if (scoring) {
            // Row k scores the token after first + k; the last prompt token's row is the sampled one.
            int scorable = sequence.numPromptTokens() - 1 - first;
            if (Math.min(count, scorable) > rowsLeft) {
                count = rowsLeft;
            }
        }
        if (rows(request, count) > rowsLeft) {
            // No row left for the sample: stop one token short of it.
            count--;
        }
        request.numScheduledRows = rows(request, count);
        return count;
    }

    private static int rows(RequestState request, int count) {
        Sequence sequence = request.sequence;
        int end = sequence.numComputedTokens() + count;
        int rows = count > 0 && end == sequence.numTokens() + request.numPending ? 1 : 0;
        if (request.scheduledScoring) {
            rows += Math.max(0, Math.min(end, sequence.numPromptTokens() - 1) - sequence.numComputedTokens());
        }
        return rows;
    }

    /** Spends {@code count} tokens and the rows that {@link #chunk} found for them. */
    void take(RequestState request, int count) {
        request.numScheduled = count;
        tokensLeft -= count;
        rowsLeft -= request.numScheduledRows;
    }

    void giveBack(RequestState request) {
        if (request.numScheduled > 0) {
            tokensLeft += request.numScheduled;
            rowsLeft += request.numScheduledRows;
            request.numScheduled = 0;
        }
    }
}

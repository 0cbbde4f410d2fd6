package io.millrace.scheduler;

import io.millrace.engine.EngineLimits;
import io.millrace.engine.StepPlan;
import io.millrace.engine.StepResult;

/** Takes the outputs of a step in: hands out tokens and scores, ends requests. Owned by the engine thread; allocates nothing. */
final class Settler {
    private final Lifecycle requests;
    private final RequestEvents events;
    private final EngineLimits limits;

    Settler(Lifecycle requests, EngineLimits limits) {
        this.requests = requests;
        this.events = requests.events;
        this.limits = limits;
    }

    void settle(PlannedStep step, StepResult result, long now) {
        step.tell(requests.kv.lookAhead());
        for (int i = 0; i < step.plan.size(); i++) {
            if (i % PrefixIndex.FETCHED_TOGETHER == 0) {
                step.touch(i);
            }
            settleEntry(step.plan, result, i, step.take(i), now);
        }
    }

    private void settleEntry(StepPlan plan, StepResult result, int i, RequestState request, long now) {
        boolean samples = plan.samples(i);
        int first = plan.firstPosition(i);
        int end = first + plan.numTokens(i);
        if (request.phase == RequestState.Phase.FINISHED) {
            // It ended while this step was under way: what it drew is nobody's, and what it held can go now.
            if (request.numInFlight == 0) {
                requests.retire(request);
            }
            return;
        }
        requests.kv.indexComputed(request, end);
        // Recomputed prompts have an output already and are not told again.
        if (request.numOutputTokens() == 0 && end >= Math.min(request.numPromptTokens(), request.numTokensToCompute())) {
            events.prefilled(request);
        }
        if (request.abortRequested()) {
            requests.finish(request, FinishReason.ABORT, -1, null);
            return;
        }
        int numScored = plan.numLogitRows(i) - (samples ? 1 : 0);
        if (numScored > 0) {
            if (result.numScoredRows(i) != numScored) {
                throw new IllegalStateException("SCH-005: the engine scored " + result.numScoredRows(i) + " prompt tokens of " + request
                        + ", the plan asked for " + numScored);
            }
            request.numScoredTokens = first + 1 + numScored;
            if (!events.promptScored(request, first + 1, numScored, result, result.firstScoredRow(i))) {
                requests.finish(request, FinishReason.ABORT, -1, null);
                return;
            }
        }
        if (samples) {
            takeToken(request, result.token(i), result, result.sampledRow(i), now);
        } else if (end == request.numTokensToCompute()) {
            requests.finish(request, FinishReason.LENGTH, -1, null);
        }
    }

    private void takeToken(RequestState request, int tokenId, StepResult result, int row, long now) {
        if (tokenId < 0) {
            throw new IllegalStateException("SCH-006: the engine sampled no token for " + request + ", the plan asked for one");
        }
        if (request.sequence.failure() != null) {
            requests.finish(request, FinishReason.ERROR, -1, request.sequence.failure());
            return;
        }
        request.sequence.append(tokenId);
        requests.waiting.order().onToken(request);
        if (!events.token(request, tokenId, result, row, now)) {
            requests.finish(request, FinishReason.ABORT, -1, null);
        } else if (request.stopsAt(tokenId, limits)) {
            requests.finish(request, FinishReason.STOP, tokenId, null);
        } else if (request.numOutputTokens() >= request.maxTokens() || request.sequence.numTokens() >= limits.maxModelLen()) {
            requests.finish(request, FinishReason.LENGTH, -1, null);
        }
    }
}

package io.millrace.scheduler;

import io.millrace.engine.StepPlan;

/** A plan and the requests behind its entries, until it is settled. Reused; allocates nothing. */
final class PlannedStep {
    final StepPlan plan;
    private final RequestState[] requests;

    PlannedStep(int maxSequences) {
        plan = new StepPlan(maxSequences);
        requests = new RequestState[maxSequences];
    }

    void clear(long stepId) {
        plan.clear(stepId);
    }

    void add(RequestState request) {
        requests[plan.size()] = request;
        plan.add(request.sequence, request.sequence.numComputedTokens(), request.numScheduled, request.scheduledScoring);
    }

    /** The request of entry {@code i}, which is forgotten: ended requests are not kept from the garbage collector. */
    RequestState take(int i) {
        RequestState request = requests[i];
        requests[i] = null;
        return request;
    }
}

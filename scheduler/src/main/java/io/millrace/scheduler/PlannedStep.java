package io.millrace.scheduler;

import io.millrace.engine.StepPlan;

/** A plan and the requests behind its entries, until it is settled. Reused; allocates nothing. */
final class PlannedStep {
    final StepPlan plan;
    private final RequestState[] requests;
    /** Kept, or nobody would look. */
    private int touched;

    PlannedStep(int maxSequences) {
        plan = new StepPlan(maxSequences);
        requests = new RequestState[maxSequences];
    }

    void clear(long stepId) {
        plan.clear(stepId);
    }

    void add(RequestState request) {
        int i = plan.size();
        int first = request.sequence.numComputedTokens();
        requests[i] = request;
        plan.add(request.sequence, first, request.numScheduled, request.scheduledScoring, request.numPending > 0 ? request.plannedEntry : -1);
        // From here on the next step can be planned as if this one were done.
        request.sequence.setNumComputedTokens(first + request.numScheduled);
        request.numInFlight++;
        request.numPending += plan.samples(i) ? 1 : 0;
        request.plannedEntry = i;
    }

    /** Tells which blocks will be full when this step is settled. */
    void tell(IndexLookAhead lookAhead) {
        for (int i = 0; i < plan.size(); i++) {
            if (requests[i].phase == RequestState.Phase.RUNNING) {
                lookAhead.expect(requests[i], plan.firstPosition(i) + plan.numTokens(i));
            }
        }
        lookAhead.finish();
    }

    /** Looks at the sequences of the next entries side by side, where settling one after the other would wait for the memory of each. */
    void touch(int first) {
        int end = Math.min(first + PrefixIndex.FETCHED_TOGETHER, plan.size());
        int sum = 0;
        for (int i = first; i < end; i++) {
            sum += plan.sequence(i).lastTokenId();
        }
        touched = sum;
    }

    /** The step will not be settled: it has failed. */
    void forget() {
        for (int i = 0; i < plan.size(); i++) {
            if (requests[i] != null) {
                take(i);
            }
        }
    }

    /** The request of entry {@code i}, which is forgotten: ended requests are not kept from the garbage collector. */
    RequestState take(int i) {
        RequestState request = requests[i];
        requests[i] = null;
        request.numInFlight--;
        request.numPending -= plan.samples(i) ? 1 : 0;
        return request;
    }
}

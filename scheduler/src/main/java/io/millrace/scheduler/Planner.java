package io.millrace.scheduler;

import java.util.function.LongSupplier;

/**
 * Decides what the next step computes: running requests first, then those who wait. Owned by the engine thread; allocates nothing. See
 * {@link Scheduler} for the rules.
 */
final class Planner {
    private final Lifecycle requests;
    private final KvAllocator kv;
    private final RequestList running;
    private final WaitingQueue waiting;
    private final StepBudget budget;
    private final LongSupplier nanoTime;
    private final int maxRunning;

    Planner(Lifecycle requests, StepBudget budget, LongSupplier nanoTime, int maxRunning) {
        this.requests = requests;
        this.kv = requests.kv;
        this.running = requests.running;
        this.waiting = requests.waiting;
        this.budget = budget;
        this.nanoTime = nanoTime;
        this.maxRunning = maxRunning;
    }

    /** Fills {@code step}, which is empty. */
    void plan(PlannedStep step) {
        budget.reset();
        for (RequestState r = running.head(); r != null; r = r.next) {
            r.numScheduled = 0;
        }
        for (RequestState r = running.head(); r != null; r = r.next) {
            if (r.numRemaining() == 1) {
                planRunning(r);
            }
        }
        for (RequestState r = running.head(); r != null; r = r.next) {
            if (r.numRemaining() > 1) {
                planRunning(r);
            }
        }
        admitWaiting();
        fill(step);
    }

    private void planRunning(RequestState request) {
        int count = budget.chunk(request);
        if (count == 0) {
            return;
        }
        while (!kv.grow(request, request.sequence.numComputedTokens() + count)) {
            RequestState youngest = running.tail();
            if (youngest == request) {
                return;
            }
            budget.giveBack(youngest);
            requests.preempt(youngest);
        }
        budget.take(request, count);
    }

    /**
     * First come first served; the head is never passed over. It enters when all tokens it has by now would fit beside what the
     * running ones still need for theirs: entering on its first chunk alone would only have it preempted a few steps later. By the
     * same rule nobody enters in a step that ran short of blocks: less is free then than the preempted one at the head gave up, or than
     * the one sitting out still needs.
     */
    private void admitWaiting() {
        if (waiting.isEmpty()) {
            return;
        }
        long now = nanoTime.getAsLong();
        int promised = 0;
        for (RequestState r = running.head(); r != null; r = r.next) {
            promised += kv.numMissing(r, r.numTokensToCompute());
        }
        while (!waiting.isEmpty()) {
            RequestState request = waiting.head();
            if (request.numTokensToCompute() == 0) {
                requests.finish(request, FinishReason.LENGTH, -1, null);
                continue;
            }
            if (running.size() == maxRunning || budget.isSpent()) {
                return;
            }
            int needed = kv.numMissing(request, request.numTokensToCompute());
            // Room for the running ones to grow, or the newcomer is preempted at the next block boundary.
            int headroom = running.isEmpty() ? 0 : Math.max(1, kv.numBlocks() / 100);
            if (needed + promised + headroom > kv.numFree()) {
                return;
            }
            int count = budget.chunk(request);
            if (!requests.begin(request, now)) {
                continue;
            }
            kv.grow(request, count);
            budget.take(request, count);
            promised += kv.numMissing(request, request.numTokensToCompute());
            requests.run(request);
        }
    }

    /** Decodes first, then chunks, each by age: kernels find the short rows together. */
    private void fill(PlannedStep step) {
        for (RequestState r = running.head(); r != null; r = r.next) {
            if (r.numScheduled == 1) {
                step.add(r);
            }
        }
        for (RequestState r = running.head(); r != null; r = r.next) {
            if (r.numScheduled > 1) {
                step.add(r);
            }
        }
    }
}

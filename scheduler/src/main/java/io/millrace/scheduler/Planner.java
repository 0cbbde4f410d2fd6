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
    private final int blockSize;
    private boolean nobodyToPreempt;

    Planner(Lifecycle requests, StepBudget budget, LongSupplier nanoTime, int maxRunning, int blockSize) {
        this.requests = requests;
        this.kv = requests.kv;
        this.running = requests.running;
        this.waiting = requests.waiting;
        this.budget = budget;
        this.nanoTime = nanoTime;
        this.maxRunning = maxRunning;
        this.blockSize = blockSize;
    }

    /** Fills {@code step}, which is empty. */
    void plan(PlannedStep step) {
        budget.reset();
        nobodyToPreempt = false;
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
        if (request.numRemaining() > 1) {
            request.onFound(kv.adopt(request));
            if (request.awaitsLeader(blockSize)) {
                return;
            }
        }
        int count = budget.chunk(request);
        if (count == 0) {
            return;
        }
        while (!kv.grow(request, request.sequence.numComputedTokens() + count)) {
            RequestState victim = victimFor(request);
            if (victim == null) {
                return;
            }
            preempt(victim);
        }
        take(request, count);
    }

    /** Puts the next {@code count} tokens into the step; their blocks are there. */
    private void take(RequestState request, int count) {
        budget.take(request, count);
        // Only prompts: what a decode fills is its own until the step is settled.
        kv.indexPlanned(request, count > 1 ? request.sequence.numComputedTokens() + count : 0);
    }

    private void preempt(RequestState victim) {
        if (victim.numScheduled > 0) {
            budget.giveBack(victim);
            kv.retract(victim);
        }
        requests.preempt(victim);
    }

    /** The youngest that is younger than {@code request}, has progressed, and has nobody count on its part in this step; null if there is none. */
    private RequestState victimFor(RequestState request) {
        boolean isOldest = request == running.head();
        if (nobodyToPreempt && !isOldest) {
            return null;
        }
        for (RequestState r = running.tail(); r != request; r = r.previous) {
            if (!kv.isLending(r) && (isOldest || !r.hasYetToProgress())) {
                return r;
            }
        }
        // Nor is there for the younger ones that are planned after it.
        nobodyToPreempt = true;
        return null;
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
            // Room for the running ones to grow, or the newcomer is preempted at the next block boundary.
            int headroom = running.isEmpty() ? 0 : Math.max(1, kv.numBlocks() / 100);
            if (!kv.fits(request, promised + headroom)) {
                return;
            }
            if (!requests.begin(request, now)) {
                continue;
            }
            request.onFound(kv.adopt(request));
            request.numScheduled = 0;
            int count = request.awaitsLeader(blockSize) ? 0 : budget.chunk(request);
            if (count > 0) {
                kv.grow(request, request.sequence.numComputedTokens() + count);
                take(request, count);
            }
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

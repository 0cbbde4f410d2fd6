package io.millrace.scheduler;

import java.util.Arrays;
import java.util.function.LongSupplier;

/**
 * Decides what the next step computes: running requests first, then those who wait. Owned by the engine thread; allocates nothing. See
 * {@link Scheduler} for the rules.
 */
final class Planner {
    private static final int UNKNOWN = -1;

    private final Lifecycle requests;
    private final KvAllocator kv;
    private final RunningList running;
    private final WaitingQueue waiting;
    private final StepBudget budget;
    private final LongSupplier nanoTime;
    private final int maxRunning;
    private final int blockSize;
    private boolean nobodyToPreempt;
    private boolean overlapped;
    private boolean waitsForSteps;
    private final QueueOrder order;
    private final Displacement displacement;
    /** Somebody who waits could not enter in this step: nobody else does. */
    private boolean admissionClosed;
    /** Running requests with more than one token to compute, found on the way through the decodes. */
    private final RequestState[] prompts;
    /** What goes into the step: one token each, and more. */
    private final RequestState[] decodes;
    private final RequestState[] chunks;
    private int numPrompts;
    private int numDecodes;
    private int numChunks;
    /** Kept, or nobody would look. */
    private int touched;

    Planner(Lifecycle requests, StepBudget budget, LongSupplier nanoTime, int maxRunning, int blockSize) {
        this.requests = requests;
        this.kv = requests.kv;
        this.running = requests.running;
        this.waiting = requests.waiting;
        this.order = requests.waiting.order();
        this.budget = budget;
        this.nanoTime = nanoTime;
        this.maxRunning = maxRunning;
        this.blockSize = blockSize;
        this.prompts = new RequestState[maxRunning];
        this.decodes = new RequestState[maxRunning];
        this.chunks = new RequestState[maxRunning];
        this.displacement = new Displacement(order, kv, running, maxRunning);
    }

    /**
     * Fills {@code step}, which is empty.
     *
     * @param beside whether a step is under way. Then nobody is preempted: whoever cannot get a block sits this step out and
     *               {@link #waitsForSteps} says so, since the step under way may end requests whose blocks are enough
     */
    void plan(PlannedStep step, boolean beside) {
        overlapped = beside;
        waitsForSteps = false;
        budget.reset();
        nobodyToPreempt = false;
        requests.expire();
        admissionClosed = false;
        // The one look at all who run: most only decode.
        for (int i = 0; i < running.size(); i++) {
            if (i % PrefixIndex.FETCHED_TOGETHER == 0) {
                touch(i);
            }
            RequestState r = running.get(i);
            int remaining = r.numRemaining();
            if (remaining == 1) {
                planRunning(r);
            } else if (remaining > 1) {
                prompts[numPrompts++] = r;
            }
        }
        for (int i = 0; i < numPrompts; i++) {
            RequestState r = prompts[i];
            if (r.phase != RequestState.Phase.RUNNING) {
                // Preempted by an older one.
                continue;
            }
            admitWaiting(r);
            // Unless it has just been displaced; one after it may have been spared.
            if (r.phase == RequestState.Phase.RUNNING) {
                planPrompt(r);
            }
        }
        Arrays.fill(prompts, 0, numPrompts, null);
        numPrompts = 0;
        admitWaiting(null);
        fill(step);
    }

    /** Looks at the next running requests side by side, where planning one after the other would wait for the memory of each. */
    private void touch(int first) {
        int end = Math.min(first + PrefixIndex.FETCHED_TOGETHER, running.size());
        int sum = 0;
        for (int i = first; i < end; i++) {
            RequestState r = running.get(i);
            sum += r.sequence.numBlocks() + r.numInFlight;
        }
        touched = sum;
    }

    private void planPrompt(RequestState request) {
        if (budget.isSpent() || request.numScheduled > 0) {
            return;
        }
        request.onFound(kv.adopt(request));
        if (!request.awaitsLeader(blockSize)) {
            planRunning(request);
        }
    }

    private void planRunning(RequestState request) {
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
        if (count == 1) {
            decodes[numDecodes++] = request;
        } else {
            chunks[numChunks++] = request;
        }
        // Only chunks: in a step of one token a sequence nobody may read what another writes, and looking a decode's block up costs time.
        kv.indexPlanned(request, count > 1 ? request.sequence.numComputedTokens() + count : 0);
    }

    /** Whether somebody could go on only by preempting another: the next step is to be planned when none is under way. */
    boolean waitsForSteps() {
        return waitsForSteps;
    }

    private void preempt(RequestState victim) {
        if (victim.numScheduled > 0) {
            if (victim.numScheduled == 1) {
                numDecodes = without(victim, decodes, numDecodes);
            } else {
                numChunks = without(victim, chunks, numChunks);
            }
            budget.giveBack(victim);
            kv.retract(victim);
        }
        requests.preempt(victim);
    }

    private static int without(RequestState request, RequestState[] list, int size) {
        int at = size - 1;
        while (list[at] != request) {
            at--;
        }
        System.arraycopy(list, at + 1, list, at, size - 1 - at);
        list[size - 1] = null;
        return size - 1;
    }

    /** The youngest that is younger than {@code request}, has progressed, and has nobody count on its part in this step; null if there is none. */
    private RequestState victimFor(RequestState request) {
        if (overlapped) {
            waitsForSteps = true;
            return null;
        }
        boolean isOldest = request == running.head();
        if (nobodyToPreempt && !isOldest) {
            return null;
        }
        RequestState r;
        for (int i = running.size() - 1; (r = running.get(i)) != request; i--) {
            if (!kv.isLending(r) && (isOldest || !r.hasYetToProgress())) {
                return r;
            }
        }
        // Nor is there for the younger ones that are planned after it.
        nobodyToPreempt = true;
        return null;
    }

    /**
     * In the order of the policy; the head is never passed over. It enters when all tokens it has by now would fit beside what the
     * running ones still need for theirs: entering on its first chunk alone would only have it preempted a few steps later. By the
     * same rule nobody enters in a step that ran short of blocks: less is free then than the preempted one at the head gave up, or than
     * the one sitting out still needs.
     *
     * @param before only those that rank before this running one, so that its prompt does not take what they come for; null = all
     */
    private void admitWaiting(RequestState before) {
        if (admissionClosed || waiting.isEmpty() || before != null && !(order.passesRunning() && order.ranksBefore(waiting.head(), before))) {
            return;
        }
        long now = nanoTime.getAsLong();
        int promised = UNKNOWN;
        while (!waiting.isEmpty()) {
            RequestState request = waiting.head();
            if (before != null && !order.ranksBefore(request, before)) {
                return;
            }
            if (request.numTokensToCompute() == 0) {
                requests.finish(request, FinishReason.LENGTH, -1, null);
                continue;
            }
            if (!request.begun && requests.endIfHopeless(request, now)) {
                continue;
            }
            if (budget.isSpent()) {
                admissionClosed = true;
                return;
            }
            boolean full = running.size() == maxRunning;
            if (!full && promised == UNKNOWN) {
                promised = numPromised();
            }
            if (full || !kv.fits(request, promised + kv.headroom(running.size()))) {
                if (displaceFor(request)) {
                    promised = UNKNOWN;
                    continue;
                }
                admissionClosed = true;
                return;
            }
            if (!requests.begin(request, now)) {
                continue;
            }
            request.onFound(kv.adopt(request));
            order.onAdmitted(request);
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

    /** Blocks that running requests still need for the tokens they have. */
    private int numPromised() {
        int promised = 0;
        for (int i = 0; i < running.size(); i++) {
            RequestState r = running.get(i);
            promised += kv.numMissing(r, r.numTokensToCompute());
        }
        return promised;
    }

    /** @return false if nobody was preempted for {@code request} */
    private boolean displaceFor(RequestState request) {
        RequestState victim = displacement.victimFor(request);
        if (victim == null) {
            return false;
        }
        if (overlapped) {
            waitsForSteps = true;
            return false;
        }
        preempt(victim);
        return true;
    }

    /** Decodes first, then chunks: kernels find the short rows together. */
    private void fill(PlannedStep step) {
        fill(step, decodes, numDecodes);
        fill(step, chunks, numChunks);
        numDecodes = 0;
        numChunks = 0;
    }

    private static void fill(PlannedStep step, RequestState[] list, int size) {
        for (int i = 0; i < size; i++) {
            step.add(list[i]);
            list[i].numScheduled = 0;
            // Ended requests are not kept from the garbage collector.
            list[i] = null;
        }
    }
}

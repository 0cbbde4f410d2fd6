package io.millrace.scheduler;

import java.util.Arrays;

/**
 * Who gives way to a waiting request that the policy lets pass running ones. Nobody does in vain: only if without all that may be displaced
 * it would have room, and not who was preempted and has done nothing new since, or urgent arrivals could keep one from ever getting
 * further. Such a one runs, so the urgent request waits for no more than the steps in which it computes again what it had, and one.
 *
 * <p>Counted run by run: blocks with the same holders lie next to each other in all their tables, so many requests with one long prefix cost
 * a few looks each. Who did not fit is counted for again as soon as who runs, or who of them may be displaced, has changed: what the others
 * hold and still need becomes less only so, or when one of them takes over what another has computed, which is seen
 * {@link KvAllocator#STEPS_PER_LOOK} steps later at most. Owned by the engine thread; allocates nothing after construction.
 */
final class Displacement {
    private static final long NOBODY = Long.MIN_VALUE;

    private final QueueOrder order;
    private final KvAllocator kv;
    private final RunningList running;
    /** Who may be displaced, while that is being looked at. */
    private final RequestState[] victims;
    /** By the first block of a run, how many of the victims hold it; all zero between calls. */
    private final int[] numGiven;
    /** The number of the request that last did not fit, or NOBODY; the blocks it needed; who ran, and who of them could be displaced: a hash. */
    private long unfit = NOBODY;
    private int unfitNeeds;
    private long unfitBeside;
    private int stepsToNextCount;

    Displacement(QueueOrder order, KvAllocator kv, RunningList running, int maxRunning) {
        this.order = order;
        this.kv = kv;
        this.running = running;
        this.victims = new RequestState[maxRunning];
        this.numGiven = new int[order.passesRunning() ? kv.numBlocks() : 0];
    }

    /** The last in order of those that {@code request} may displace, if without all of them it would have room; null if nobody is to be. */
    RequestState victimFor(RequestState request) {
        if (!order.passesRunning()) {
            return null;
        }
        int count = 0;
        int promised = 0;
        long beside = 0;
        for (int i = running.size() - 1; i >= 0; i--) {
            RequestState r = running.get(i);
            boolean mayDisplace = order.mayDisplace(request, r) && !kv.isLending(r) && !r.hasYetToProgress();
            beside = (beside + 2 * r.id() + (mayDisplace ? 1 : 0)) * 0x9E3779B97F4A7C15L;
            if (mayDisplace) {
                victims[count++] = r;
            } else {
                promised += kv.numMissing(r, r.numTokensToCompute());
            }
        }
        boolean enough = count > 0 && fitsWithout(count, request, promised + kv.headroom(running.size() - count), beside);
        RequestState victim = enough ? victims[0] : null;
        if (enough) {
            // What it shared when it last did not fit may be out of date.
            request.stepsToNextLook = 0;
        }
        Arrays.fill(victims, 0, count, null);
        return victim;
    }

    /**
     * Whether {@link KvAllocator#fits} would hold had the first {@code count} victims given back their blocks. A block that several hold is
     * free only when the last of them has given it back, and serves {@code request} for nothing only while another holds it.
     */
    private boolean fitsWithout(int count, RequestState request, int numReserved, long beside) {
        // What is not indexed has one holder.
        long missing = (long) kv.numNeeded(request) + numReserved - kv.numFree();
        long shared = 0;
        for (int i = 0; i < count; i++) {
            missing -= victims[i].sequence.numBlocks() - victims[i].numIndexedBlocks;
            shared += victims[i].numIndexedBlocks;
        }
        int reusable = kv.numReusable(request);
        if (missing <= 0) {
            return true;
        }
        if (missing > shared + reusable) {
            return false;
        }
        if (unfit == request.id() && unfitBeside == beside && unfitNeeds <= kv.numNeeded(request) && stepsToNextCount-- > 0) {
            return false;
        }
        int numCounted = 0;
        while (missing > 0 && numCounted < count) {
            missing -= give(victims[numCounted++]);
        }
        boolean fits = missing <= 0 || missing <= reusable && missing <= kv.countShared(request, numGiven);
        for (int i = 0; i < numCounted; i++) {
            takeBack(victims[i]);
        }
        unfit = fits ? NOBODY : request.id();
        unfitBeside = beside;
        unfitNeeds = kv.numNeeded(request);
        stepsToNextCount = KvAllocator.STEPS_PER_LOOK;
        return fits;
    }

    /** @return indexed blocks of {@code victim} that nobody holds but it and those before it */
    private int give(RequestState victim) {
        int freed = 0;
        for (int end = victim.numIndexedBlocks; end > 0;) {
            int start = kv.runStart(victim, end - 1);
            freed += ++numGiven[victim.sequence.blockIds()[start]] == kv.numHolders(victim, start) ? end - start : 0;
            end = start;
        }
        return freed;
    }

    private void takeBack(RequestState victim) {
        for (int end = victim.numIndexedBlocks; end > 0;) {
            end = kv.runStart(victim, end - 1);
            numGiven[victim.sequence.blockIds()[end]] = 0;
        }
    }
}

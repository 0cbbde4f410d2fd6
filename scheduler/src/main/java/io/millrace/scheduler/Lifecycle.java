package io.millrace.scheduler;

import io.millrace.engine.Engine;
import java.util.function.LongSupplier;

/**
 * Where each request is, and every way from one place to another: submit, begin, run, preempt, finish. Keeps lists, blocks, engine and
 * published numbers in step with each other, so that planning and settling need not. Owned by the engine thread.
 */
final class Lifecycle {
    final RunningList running;
    /** Ended, but still part of a step under way: they keep their blocks, and the engine their sequence, until it is settled. */
    private final RequestList leaving = new RequestList();
    final WaitingQueue waiting;
    private final DeadlineHeap deadlines = new DeadlineHeap();
    final KvAllocator kv;
    final RequestEvents events;
    final Progress progress = new Progress();
    final TenantAccounts tenants;
    final RetryAfterEstimate retryAfter;
    private final Engine engine;
    private final LongSupplier nanoTime;
    private final boolean prefixCaching;
    private long nextArrivalOrder;

    /** @param maxRunning at once */
    Lifecycle(Engine engine, LongSupplier nanoTime, RequestEvents events, SchedulerConfig config, int maxRunning, IndexKey indexKey) {
        this.engine = engine;
        this.nanoTime = nanoTime;
        this.events = events;
        this.running = new RunningList(maxRunning);
        this.prefixCaching = config.prefixCaching();
        this.waiting = new WaitingQueue(QueueOrder.of(config.queue(), nanoTime.getAsLong()));
        this.tenants = new TenantAccounts(config.queue());
        this.retryAfter = new RetryAfterEstimate(config.queue().numTenants());
        this.kv = new KvAllocator(engine.limits(), prefixCaching, indexKey);
        publish();
    }

    boolean hasWork() {
        return !running.isEmpty() || !waiting.isEmpty();
    }

    void submit(RequestState request) {
        request.arrivalOrder = nextArrivalOrder++;
        request.maxComputedTokens = (int) Math.min((long) request.numPromptTokens() + request.maxTokens(), engine.limits().maxModelLen()) - 1;
        if (!prefixCaching) {
            RequestState first = request.leader() == null ? request : request.leader();
            request.salt = CacheSalt.ofGroup(first.id());
        }
        waiting.add(request);
        if (request.hasDeadline()) {
            deadlines.add(request);
        }
        publish();
    }

    /** Ends the requests whose deadline has passed. */
    void expire() {
        if (deadlines.first() == null) {
            return;
        }
        long now = nanoTime.getAsLong();
        for (RequestState r; (r = deadlines.expired(now)) != null; ) {
            finish(r, FinishReason.TIMEOUT, -1, "SCH-020: the request's timeout of " + seconds(r.terms.timeoutNanos()) + " s passed "
                    + (r.begun ? "after " + r.numOutputTokens() + " output tokens" : "while it waited to be started"));
        }
    }

    /**
     * Ends a waiting request whose first token cannot come before its deadline even at the best rate of late.
     *
     * @return false if it may still do
     */
    boolean endIfHopeless(RequestState request, long now) {
        long needed = request.hasDeadline() ? retryAfter.bestNanosFor(request.numTokensToCompute()) : 0;
        if (!request.hasDeadline() || request.deadlineNanos - now >= needed) {
            return false;
        }
        finish(request, FinishReason.TIMEOUT, -1, "SCH-021: the request was not started: " + seconds(request.deadlineNanos - now)
                + " s are left of its timeout of " + seconds(request.terms.timeoutNanos()) + " s, and its " + request.numTokensToCompute()
                + " tokens take at least " + seconds(needed) + " s");
        return true;
    }

    private static String seconds(long nanos) {
        return String.format(java.util.Locale.ROOT, "%.3f", nanos * 1e-9);
    }

    /**
     * Has the engine get ready for a request that is about to run for the first time.
     *
     * @return false if the engine refused the sequence: then the request has ended
     */
    boolean begin(RequestState request, long now) {
        if (request.begun) {
            return true;
        }
        request.begun = true;
        request.firstScheduledNanos = now;
        leaveQueue(request);
        try {
            engine.begin(request.sequence);
        } catch (RuntimeException e) {
            finish(request, FinishReason.ERROR, -1, e.getMessage());
            return false;
        }
        events.admitted(now - request.arrivalNanos);
        return true;
    }

    /** What admission counts as waiting is waiting no more. */
    private void leaveQueue(RequestState request) {
        progress.numUnqueuedTokens = progress.numUnqueuedTokens + request.numQueuedTokens;
        request.numQueuedTokens = 0;
    }

    /** From the queue to the running ones, which stand in the order of the policy. */
    void run(RequestState request) {
        waiting.remove(request);
        int place = running.size();
        while (place > 0 && waiting.order().ranksBefore(request, running.get(place - 1))) {
            place--;
        }
        running.insert(place, request);
        request.phase = RequestState.Phase.RUNNING;
    }

    /** From the running ones back to the queue; what was computed is given back, and found again as far as nobody needs the room. */
    void preempt(RequestState request) {
        boolean fruitless = request.hasYetToProgress();
        if (fruitless) {
            progress.numFruitlessPreemptions = progress.numFruitlessPreemptions + 1;
        }
        request.onPreempted();
        kv.release(request);
        request.sequence.setNumComputedTokens(0);
        running.remove(request);
        waiting.addPreempted(request);
        request.phase = RequestState.Phase.WAITING;
        progress.numPreemptions = progress.numPreemptions + 1;
        events.preempted(fruitless);
    }

    /** Ends a request wherever it is; harmless if it has ended. */
    void finish(RequestState request, FinishReason reason, int stopTokenId, String message) {
        if (request.phase == RequestState.Phase.FINISHED) {
            return;
        }
        if (waiting.contains(request)) {
            waiting.remove(request);
        } else {
            running.remove(request);
        }
        if (request.deadlinePlace != RequestHeap.ABSENT) {
            deadlines.remove(request);
        }
        leaveQueue(request);
        if (request.numInFlight == 0) {
            kv.release(request);
        } else {
            leaving.addLast(request);
        }
        request.phase = RequestState.Phase.FINISHED;
        request.finishNanos = nanoTime.getAsLong();
        // Told last: whoever waits for the end finds place and blocks free.
        progress.numFinished = progress.numFinished + 1;
        tenants.leave(request.terms.tenant(), request.numOutputTokens(), request.finishNanos);
        publish();
        if (request.begun) {
            retryAfter.onFinished(request.numPromptTokens(), request.sequence.numTokens() - request.numCachedTokens(),
                    request.finishNanos - request.arrivalNanos);
        }
        try {
            if (request.numInFlight == 0) {
                endSequence(request);
            }
        } finally {
            events.finished(request, reason, stopTokenId, message);
        }
    }

    /** Frees what an ended request kept while a step with it was under way. */
    void retire(RequestState request) {
        leaving.remove(request);
        kv.release(request);
        endSequence(request);
    }

    private void endSequence(RequestState request) {
        try {
            if (request.begun) {
                engine.end(request.sequence);
            }
        } catch (RuntimeException e) {
            // It costs the engine what it keeps for one sequence; the other requests can do without that.
            RequestEvents.log("SCH-017: the engine could not end " + request, e);
        }
    }

    /** Ends every request; no step is under way. A failing engine does not stop it. */
    void finishAll(FinishReason reason, String message) {
        while (!leaving.isEmpty()) {
            RequestState request = leaving.head();
            try {
                retire(request);
            } catch (RuntimeException | Error e) {
                RequestEvents.log("the engine could not end " + request, e);
            }
        }
        publish();
        while (hasWork()) {
            RequestState request = running.isEmpty() ? waiting.head() : running.head();
            try {
                finish(request, reason, -1, message);
            } catch (RuntimeException | Error e) {
                RequestEvents.log("the engine could not end " + request, e);
            }
        }
    }

    /** Tells every request its end and changes nothing else: {@link #finishAll} must follow when the step in progress has returned. */
    void tellAll(FinishReason reason, String message) {
        for (int i = 0; i < running.size(); i++) {
            tell(running.get(i), reason, message);
        }
        waiting.forEach(r -> tell(r, reason, message));
    }

    private void tell(RequestState request, FinishReason reason, String message) {
        request.finishNanos = nanoTime.getAsLong();
        events.finishedInItsPlace(request, reason, message);
    }

    void publish() {
        progress.numRunning = running.size();
        progress.numWaiting = waiting.size();
        progress.numFreeBlocks = kv.numFree();
        progress.numWaitingTokens = waiting.numTokens();
    }

    @Override
    public String toString() {
        return running.size() + " running, oldest " + running.head() + "; " + waiting.size() + " waiting, first " + waiting.head() + "; "
                + kv.numFree() + " of " + kv.numBlocks() + " blocks free";
    }

    /**
     * Proves the invariants between steps: every block is free or held by exactly the running requests, block tables cover what is
     * computed, requests stand in the order of the policy. Allocates; for tests and diagnosis.
     *
     * @throws IllegalStateException with the numbers
     */
    void checkIntegrity() {
        int numDeadlines = 0;
        for (int i = 0; i < running.size(); i++) {
            RequestState r = running.get(i);
            check(kv.numMissing(r, r.sequence.numComputedTokens()) == 0, r, "has computed tokens without a block");
            check(r.phase == RequestState.Phase.RUNNING && r.begun, r, "is in the running list");
            check(i == 0 || waiting.order().ranksBefore(running.get(i - 1), r), r, "runs out of order");
            numDeadlines += r.hasDeadline() ? 1 : 0;
        }
        waiting.checkIntegrity();
        int[] waitingDeadlines = new int[1];
        waiting.forEach(r -> waitingDeadlines[0] += r.hasDeadline() ? 1 : 0);
        check(numDeadlines + waitingDeadlines[0] == deadlines.size(), deadlines.first(), "is first of " + deadlines.size()
                + " deadlines, of which there are " + (numDeadlines + waitingDeadlines[0]));
        deadlines.checkIntegrity();
        for (RequestState r = leaving.head(); r != null; r = r.next) {
            check(r.phase == RequestState.Phase.FINISHED && r.numInFlight > 0, r, "is leaving");
        }
        kv.checkIntegrity(running, leaving);
    }

    static void check(boolean holds, RequestState request, String complaint) {
        if (!holds) {
            throw new IllegalStateException("SCH-007: " + request + " " + complaint);
        }
    }
}

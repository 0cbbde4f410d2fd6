package io.millrace.scheduler;

import io.millrace.engine.Engine;
import java.util.function.LongSupplier;

/**
 * Where each request is, and every way from one place to another: submit, begin, run, preempt, finish. Keeps lists, blocks, engine and
 * published numbers in step with each other, so that planning and settling need not. Owned by the engine thread.
 */
final class Lifecycle {
    final RequestList running = new RequestList();
    final WaitingQueue waiting = new WaitingQueue();
    final KvAllocator kv;
    final RequestEvents events;
    final Progress progress = new Progress();
    final RetryAfterEstimate retryAfter = new RetryAfterEstimate(progress);
    private final Engine engine;
    private final LongSupplier nanoTime;
    private final boolean prefixCaching;
    private long nextArrivalOrder;

    /** @param indexKey see {@link PrefixIndex} */
    Lifecycle(Engine engine, LongSupplier nanoTime, RequestEvents events, boolean prefixCaching, long indexKey) {
        this.engine = engine;
        this.nanoTime = nanoTime;
        this.events = events;
        this.prefixCaching = prefixCaching;
        this.kv = new KvAllocator(engine.limits(), prefixCaching, indexKey);
        publish();
    }

    boolean hasWork() {
        return !running.isEmpty() || !waiting.isEmpty();
    }

    void submit(RequestState request) {
        request.arrivalOrder = nextArrivalOrder++;
        if (!prefixCaching) {
            RequestState first = request.leader() == null ? request : request.leader();
            request.salt = CacheSalt.ofGroup(first.id());
        }
        waiting.add(request);
        publish();
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
        try {
            engine.begin(request.sequence);
        } catch (RuntimeException e) {
            finish(request, FinishReason.ERROR, -1, e.getMessage());
            return false;
        }
        events.admitted(now - request.arrivalNanos);
        return true;
    }

    /** From the queue to the running ones. */
    void run(RequestState request) {
        waiting.remove(request);
        // Not always the youngest: it may have been preempted while a younger one was spared.
        running.insertFromTail(request);
        request.phase = RequestState.Phase.RUNNING;
    }

    /** From the running ones back to the queue; what was computed is given back, and found again as far as nobody needs the room. */
    void preempt(RequestState request) {
        if (request.hasYetToProgress()) {
            progress.numFruitlessPreemptions = progress.numFruitlessPreemptions + 1;
        }
        request.onPreempted();
        kv.release(request);
        request.sequence.setNumComputedTokens(0);
        running.remove(request);
        waiting.addPreempted(request);
        request.phase = RequestState.Phase.WAITING;
        progress.numPreemptions = progress.numPreemptions + 1;
        events.preempted();
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
        kv.release(request);
        request.phase = RequestState.Phase.FINISHED;
        request.finishNanos = nanoTime.getAsLong();
        // Told last: whoever waits for the end finds place and blocks free.
        progress.numFinished = progress.numFinished + 1;
        publish();
        if (request.begun) {
            retryAfter.onFinished(request.numOutputTokens());
        }
        try {
            if (request.begun) {
                engine.end(request.sequence);
            }
        } catch (RuntimeException e) {
            // It costs the engine what it keeps for one sequence; the other requests can do without that.
            RequestEvents.log("SCH-017: the engine could not end " + request, e);
        } finally {
            events.finished(request, reason, stopTokenId, message);
        }
    }

    /** Ends every request. A failing engine does not stop it. */
    void finishAll(FinishReason reason, String message) {
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
        for (RequestState r = running.head(); r != null; r = r.next) {
            tell(r, reason, message);
        }
        waiting.forEach(r -> tell(r, reason, message));
    }

    private void tell(RequestState request, FinishReason reason, String message) {
        request.finishNanos = nanoTime.getAsLong();
        events.finished(request, reason, -1, message);
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
     * computed, requests stand in order of arrival. Allocates; for tests and diagnosis.
     *
     * @throws IllegalStateException with the numbers
     */
    void checkIntegrity() {
        long lastArrival = -1;
        for (RequestState r = running.head(); r != null; r = r.next) {
            check(kv.numMissing(r, r.sequence.numComputedTokens()) == 0, r, "has computed tokens without a block");
            check(r.phase == RequestState.Phase.RUNNING && r.begun, r, "is in the running list");
            check(r.arrivalOrder > lastArrival, r, "runs out of order");
            lastArrival = r.arrivalOrder;
        }
        waiting.checkIntegrity();
        kv.checkIntegrity(running);
    }

    static void check(boolean holds, RequestState request, String complaint) {
        if (!holds) {
            throw new IllegalStateException("SCH-007: " + request + " " + complaint);
        }
    }
}

package io.millrace.scheduler;

import io.millrace.engine.EngineLimits;
import io.millrace.engine.SamplingParams;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongSupplier;

/**
 * Who is let in: refuses what can never run, bounds the requests in the house to the running places plus the queue, the tokens that wait,
 * and what each tenant may have. Thread-safe, with a lock for refusals only: submitters count up here, the engine thread counts
 * {@link Progress#numFinished} and {@link Progress#numUnqueuedTokens} up.
 */
final class Admission {
    private final EngineLimits limits;
    private final Progress progress;
    private final RetryAfterEstimate retryAfter;
    private final LongSupplier nanoTime;
    private final TenantAccounts tenants;
    private final int capacity;
    private final long maxQueuedTokens;
    private final AtomicLong numAccepted = new AtomicLong();
    private final AtomicLong numAcceptedTokens = new AtomicLong();
    private volatile long workSinceNanos;

    Admission(EngineLimits limits, Scheduler scheduler, SchedulerConfig config, LongSupplier nanoTime) {
        this.limits = limits;
        this.progress = scheduler.progress();
        this.retryAfter = scheduler.retryAfter();
        this.tenants = scheduler.tenants();
        this.nanoTime = nanoTime;
        this.capacity = Math.addExact(scheduler.maxRunning(), config.maxQueuedRequests());
        this.maxQueuedTokens = config.queue().maxQueuedTokens();
    }

    /** Accepted and not yet ended. */
    int numInside() {
        // Finished first: read the other way round, a request could end in between and be counted as below zero.
        long finished = progress.numFinished;
        return (int) (numAccepted.get() - finished);
    }

    /** How long there has been work without a finished step; 0 without work. */
    long stalledNanos(long now) {
        if (numInside() == 0) {
            return 0;
        }
        return Math.max(0, Math.min(now - workSinceNanos, now - progress.lastStepNanos));
    }

    /**
     * @throws IllegalArgumentException if the request is malformed, a fault of the caller
     * @throws RejectedException        if it could never run
     */
    void validate(GenerationRequest request) {
        SamplingParams sampling = request.sampling();
        int[] prompt = request.promptTokenIds();
        if (prompt.length == 0 || request.sink() == null || sampling.maxTokens() < 0) {
            throw new IllegalArgumentException("SCH-002: a request needs a prompt token, a sink and maxTokens of at least 0, not "
                    + prompt.length + " tokens, sink " + request.sink() + " and maxTokens " + sampling.maxTokens());
        }
        Terms terms = request.terms();
        if (terms.tenant() < 0 || terms.tenant() >= tenants.numTenants() || terms.timeoutNanos() < 0) {
            throw new IllegalArgumentException("SCH-002: a request of tenant " + terms.tenant() + " of " + tenants.numTenants()
                    + ", with a timeout of " + terms.timeoutNanos() + " ns");
        }
        for (int i = 0; i < prompt.length; i++) {
            if (prompt[i] < 0 || prompt[i] >= limits.vocabSize()) {
                throw new IllegalArgumentException("SCH-003: prompt token " + prompt[i] + " at position " + i
                        + " is outside the vocabulary [0, " + limits.vocabSize() + ")");
            }
        }
        if (Math.max(sampling.numLogprobs(), sampling.numPromptLogprobs()) > limits.maxLogprobs()) {
            throw new IllegalArgumentException("SCH-003: " + Math.max(sampling.numLogprobs(), sampling.numPromptLogprobs())
                    + " log-probabilities per token were asked for, the engine reports at most " + limits.maxLogprobs());
        }
        int room = limits.maxModelLen() - prompt.length;
        if (room < Math.min(sampling.maxTokens(), 1)) {
            throw new RejectedException(RejectedException.Kind.TOO_LONG, "SCH-010: the prompt has " + prompt.length
                    + " tokens and the context holds " + limits.maxModelLen() + ", its answer included; shorten the prompt", 0);
        }
        // The last output token is never fed back, so it takes no place in the cache.
        long numCached = prompt.length + (long) Math.min(sampling.maxTokens(), room) - 1;
        long capacityTokens = (long) limits.numBlocks() * limits.blockSize();
        if (numCached > capacityTokens) {
            throw new RejectedException(RejectedException.Kind.TOO_LONG, "SCH-011: " + prompt.length + " prompt and up to "
                    + Math.min(sampling.maxTokens(), room) + " output tokens need " + numCached + " places in the KV cache, which has "
                    + capacityTokens + " (" + limits.numBlocks() + " blocks of " + limits.blockSize()
                    + "); ask for fewer tokens or give the cache more memory", 0);
        }
    }

    /** What the request at {@code index} adds to the waiting tokens: choices of one prompt count it once. */
    static int queuedTokens(List<GenerationRequest> requests, int index) {
        int[] prompt = requests.get(index).promptTokenIds();
        return index > 0 && requests.get(index - 1).promptTokenIds() == prompt ? 0 : prompt.length;
    }

    private static long queuedTokens(List<GenerationRequest> requests) {
        long tokens = 0;
        for (int i = 0; i < requests.size(); i++) {
            tokens += queuedTokens(requests, i);
        }
        return tokens;
    }

    /** Takes places for all, which are one tenant's, or throws {@link RejectedException} and takes none. */
    void reserve(List<GenerationRequest> requests) {
        int count = requests.size();
        if (count > capacity) {
            throw new RejectedException(RejectedException.Kind.TOO_MANY, "SCH-012: " + count
                    + " requests at once never fit: running places and queue together hold " + capacity + "; send fewer at once", 0);
        }
        long tokens = queuedTokens(requests);
        int tenant = requests.getFirst().terms().tenant();
        reserveRequests(tenant, count);
        boolean reservedTokens = false;
        boolean done = false;
        try {
            reserveTokens(tenant, tokens);
            reservedTokens = true;
            tenants.enter(tenant, count, tokens, nanoTime.getAsLong(), retryAfter);
            done = true;
        } finally {
            if (!done) {
                numAccepted.addAndGet(-count);
                numAcceptedTokens.addAndGet(reservedTokens ? -tokens : 0);
            }
        }
    }

    private void reserveRequests(int tenant, int count) {
        while (true) {
            long finished = progress.numFinished;
            long accepted = numAccepted.get();
            if (accepted - finished + count > capacity) {
                int seconds = retryAfter.promiseRequests(tenant, count, nanoTime.getAsLong());
                throw new RejectedException(RejectedException.Kind.QUEUE_FULL, "SCH-013: " + (accepted - finished)
                        + " requests are running or waiting, at most " + capacity + " are taken in; try again in " + seconds + " s", seconds);
            }
            if (accepted == finished) {
                workSinceNanos = nanoTime.getAsLong();
            }
            if (numAccepted.compareAndSet(accepted, accepted + count)) {
                return;
            }
        }
    }

    /** A request that finds nobody waiting is let in however long it is: it fits by itself, or {@link #validate} had refused it. */
    private void reserveTokens(int tenant, long tokens) {
        while (true) {
            long unqueued = progress.numUnqueuedTokens;
            long accepted = numAcceptedTokens.get();
            long queued = accepted - unqueued;
            if (maxQueuedTokens > 0 && queued > 0 && queued + tokens > maxQueuedTokens) {
                int seconds = retryAfter.promiseTokens(tenant, tokens, nanoTime.getAsLong());
                throw new RejectedException(RejectedException.Kind.QUEUE_FULL, "SCH-022: " + queued + " prompt tokens are waiting, and with the "
                        + tokens + " of this request there would be more than " + maxQueuedTokens + "; try again in " + seconds + " s", seconds);
            }
            if (numAcceptedTokens.compareAndSet(accepted, accepted + tokens)) {
                return;
            }
        }
    }

    /** Gives back what {@link #reserve} took for requests that were not handed over. */
    void release(List<GenerationRequest> requests) {
        long tokens = queuedTokens(requests);
        numAccepted.addAndGet(-requests.size());
        numAcceptedTokens.addAndGet(-tokens);
        tenants.cancel(requests.getFirst().terms().tenant(), requests.size(), tokens, nanoTime.getAsLong());
    }
}

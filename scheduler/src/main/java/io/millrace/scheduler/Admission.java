package io.millrace.scheduler;

import io.millrace.engine.EngineLimits;
import io.millrace.engine.SamplingParams;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongSupplier;

/**
 * Who is let in: refuses what can never run, and bounds the requests in the house to the running places plus the queue. Thread-safe
 * without locks: submitters count up here, the engine thread counts {@link Progress#numFinished} up.
 */
final class Admission {
    private final EngineLimits limits;
    private final Progress progress;
    private final RetryAfterEstimate retryAfter;
    private final LongSupplier nanoTime;
    private final int capacity;
    private final AtomicLong numAccepted = new AtomicLong();
    private volatile long workSinceNanos;

    Admission(EngineLimits limits, Progress progress, RetryAfterEstimate retryAfter, LongSupplier nanoTime, int capacity) {
        this.limits = limits;
        this.progress = progress;
        this.retryAfter = retryAfter;
        this.nanoTime = nanoTime;
        this.capacity = capacity;
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

    /** Takes {@code count} places or throws {@link RejectedException} and takes none. */
    void reserve(int count) {
        if (count > capacity) {
            throw new RejectedException(RejectedException.Kind.TOO_MANY, "SCH-012: " + count
                    + " requests at once never fit: running places and queue together hold " + capacity + "; send fewer at once", 0);
        }
        while (true) {
            long finished = progress.numFinished;
            long accepted = numAccepted.get();
            if (accepted - finished + count > capacity) {
                int seconds = retryAfter.seconds();
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

    /** Gives places back that were reserved but not used. */
    void release(int count) {
        numAccepted.addAndGet(-count);
    }
}

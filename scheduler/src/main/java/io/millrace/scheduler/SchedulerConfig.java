package io.millrace.scheduler;

import io.millrace.engine.EngineLimits;

/**
 * The scheduler's limits; where the engine's are tighter, those hold.
 *
 * @param maxNumSeqs          running sequences at most
 * @param maxNumBatchedTokens token budget of a step; running sequences are bounded by it too, so that each gets its token in every step
 * @param maxPrefillChunk     prompt tokens of one request in one step at most (chunked prefill)
 * @param maxQueuedRequests   requests that may wait while all {@code maxNumSeqs} places are taken; further ones are refused with 429
 * @param prefixCaching       whether computed blocks are kept for later requests that begin with the same tokens; the choices of one
 *                            request share its prompt in any case
 * @param queue               the policy, and further bounds of what waits
 */
public record SchedulerConfig(int maxNumSeqs, int maxNumBatchedTokens, int maxPrefillChunk, int maxQueuedRequests, boolean prefixCaching,
        QueueConfig queue) {
    public SchedulerConfig {
        if (maxNumSeqs < 1 || maxNumBatchedTokens < 1 || maxPrefillChunk < 1 || maxQueuedRequests < 0) {
            throw new IllegalArgumentException("SCH-001: maxNumSeqs " + maxNumSeqs + ", maxNumBatchedTokens " + maxNumBatchedTokens
                    + ", maxPrefillChunk " + maxPrefillChunk + " must be at least 1 and maxQueuedRequests " + maxQueuedRequests
                    + " at least 0");
        }
    }

    /** First come, first served. */
    public SchedulerConfig(int maxNumSeqs, int maxNumBatchedTokens, int maxPrefillChunk, int maxQueuedRequests, boolean prefixCaching) {
        this(maxNumSeqs, maxNumBatchedTokens, maxPrefillChunk, maxQueuedRequests, prefixCaching, QueueConfig.DEFAULT);
    }

    /** First come, first served, with prefix caching. */
    public SchedulerConfig(int maxNumSeqs, int maxNumBatchedTokens, int maxPrefillChunk, int maxQueuedRequests) {
        this(maxNumSeqs, maxNumBatchedTokens, maxPrefillChunk, maxQueuedRequests, true);
    }

    public SchedulerConfig with(QueueConfig other) {
        return new SchedulerConfig(maxNumSeqs, maxNumBatchedTokens, maxPrefillChunk, maxQueuedRequests, prefixCaching, other);
    }

    /** All the engine can take, and four waiting requests for each running one. */
    public static SchedulerConfig defaults(EngineLimits limits) {
        return new SchedulerConfig(limits.maxNumSeqs(), limits.maxNumBatchedTokens(), limits.maxNumBatchedTokens(),
                4 * limits.maxNumSeqs());
    }
}

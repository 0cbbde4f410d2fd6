package io.millrace.scheduler;

/**
 * @param maxNumSeqs          running sequences at most
 * @param maxNumBatchedTokens token budget of a step
 * @param maxPrefillChunk     prompt tokens of one request in one step at most (chunked prefill)
 * @param maxQueuedRequests   waiting requests beyond which new ones are refused with 429
 */
public record SchedulerConfig(int maxNumSeqs, int maxNumBatchedTokens, int maxPrefillChunk, int maxQueuedRequests) {}

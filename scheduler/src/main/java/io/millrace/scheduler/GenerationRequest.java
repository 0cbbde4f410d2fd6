package io.millrace.scheduler;

import io.millrace.engine.SamplingParams;

/**
 * One sequence to generate. {@code n} choices or several prompts of one HTTP request are several of these.
 *
 * @param promptTokenIds not copied until admitted; at least one id, all within the vocabulary
 * @param cacheSalt      only requests with the same salt share cached prefixes; null = those without one
 */
public record GenerationRequest(int[] promptTokenIds, SamplingParams sampling, TokenSink sink, String cacheSalt) {
    /** Without a salt. */
    public GenerationRequest(int[] promptTokenIds, SamplingParams sampling, TokenSink sink) {
        this(promptTokenIds, sampling, sink, null);
    }
}

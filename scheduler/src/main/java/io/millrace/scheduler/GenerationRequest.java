package io.millrace.scheduler;

import io.millrace.engine.SamplingParams;

/**
 * One sequence to generate. {@code n} choices or several prompts of one HTTP request are several of these.
 *
 * @param promptTokenIds not copied until admitted; at least one id, all within the vocabulary
 * @param cacheSalt      only requests with the same salt share cached prefixes; null = those without one
 * @param terms          whose it is, how urgent and until when
 */
public record GenerationRequest(int[] promptTokenIds, SamplingParams sampling, TokenSink sink, String cacheSalt, Terms terms) {
    /** On the usual terms. */
    public GenerationRequest(int[] promptTokenIds, SamplingParams sampling, TokenSink sink, String cacheSalt) {
        this(promptTokenIds, sampling, sink, cacheSalt, Terms.DEFAULT);
    }

    /** Without a salt, on the usual terms. */
    public GenerationRequest(int[] promptTokenIds, SamplingParams sampling, TokenSink sink) {
        this(promptTokenIds, sampling, sink, null);
    }
}

package io.millrace.scheduler;

import io.millrace.engine.SamplingParams;

/**
 * One sequence to generate. {@code n} choices or several prompts of one HTTP request are several of these.
 *
 * @param promptTokenIds not copied until admitted; at least one id, all within the vocabulary
 */
public record GenerationRequest(int[] promptTokenIds, SamplingParams sampling, TokenSink sink) {}

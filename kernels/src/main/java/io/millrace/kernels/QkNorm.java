package io.millrace.kernels;

/**
 * Root mean square norm of every query head and every key head before the rotation (Qwen 3, Gemma 3; arXiv 2010.04245): each head {@code x}
 * becomes {@code x / sqrt(mean(x^2) + eps) * weight}.
 *
 * @param query weight of query heads, F32 {@code [1, headDim]}
 * @param key   weight of key heads, F32 {@code [1, headDim]}
 */
public record QkNorm(Tensor query, Tensor key, float eps) {}

package io.millrace.kernels;

/**
 * Rotary position embedding tables (RoFormer, arXiv 2104.09864), in the "halves" layout: element {@code i} of a head is rotated
 * with element {@code i + rotaryDim/2} by the angle whose cosine and sine stand at {@code [position, i]}. Elements past
 * {@code rotaryDim} are left as they are.
 *
 * @param cos F32 {@code [maxPositions, rotaryDim/2]}
 * @param sin F32 {@code [maxPositions, rotaryDim/2]}
 */
public record Rope(Tensor cos, Tensor sin, int rotaryDim) {}

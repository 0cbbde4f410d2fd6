package io.millrace.kernels;

/**
 * Rotary position embedding tables (RoFormer, arXiv 2104.09864): pair {@code i} of a head is rotated by the angle whose cosine and sine
 * stand at {@code [position, i]}. Elements past {@code rotaryDim} are left as they are.
 *
 * @param cos         F32 {@code [maxPositions, rotaryDim/2]}
 * @param sin         F32 {@code [maxPositions, rotaryDim/2]}
 * @param interleaved pair {@code i} is elements {@code 2i} and {@code 2i + 1} (GPT-J; GGUF files of the llama architecture); else, in
 *                    "halves" as Hugging Face has them, elements {@code i} and {@code i + rotaryDim/2}
 */
public record Rope(Tensor cos, Tensor sin, int rotaryDim, boolean interleaved) {
    /** Pairs in halves. */
    public Rope(Tensor cos, Tensor sin, int rotaryDim) {
        this(cos, sin, rotaryDim, false);
    }
}

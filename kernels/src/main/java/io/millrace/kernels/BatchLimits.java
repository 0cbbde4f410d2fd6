package io.millrace.kernels;

/** Capacities of a {@link Batch}: the memory plan of a backend's activations follows from them. */
public record BatchLimits(int maxTokens, int maxSequences, int maxBlocksPerSequence, int maxLogitRows, int maxTopLogprobs) {
    public BatchLimits {
        if (maxTokens <= 0 || maxSequences <= 0 || maxBlocksPerSequence <= 0 || maxLogitRows <= 0 || maxTopLogprobs < 0) {
            throw new IllegalArgumentException("BE-003: batch limits must be positive, see --max-num-batched-tokens and --max-num-seqs: tokens=" + maxTokens + " sequences=" + maxSequences
                    + " blocksPerSequence=" + maxBlocksPerSequence + " logitRows=" + maxLogitRows + " topLogprobs=" + maxTopLogprobs);
        }
    }
}

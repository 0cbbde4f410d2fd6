package io.millrace.engine.model;

/** A family of architectures that share one forward pass. Stateless. */
public interface ModelFamily {
    /** Bytes of the activation buffers that {@link #bind} will make. As a double: a hostile configuration may exceed a long. */
    double activationBytes(ModelConfig config, long tokens, long logitRows);

    /**
     * Binds the checkpoint's tensors and makes the activation buffers.
     *
     * @param maxPositions positions that can occur, for the rope tables
     */
    DecoderModel bind(ModelConfig config, WeightBinder weights, int maxPositions);
}

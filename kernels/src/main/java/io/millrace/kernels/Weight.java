package io.millrace.kernels;

/**
 * A linear layer's weight {@code [outFeatures, inFeatures]} in a layout private to the backend that made it (repacked, tiled,
 * quantised as that backend likes).
 */
public interface Weight {
    String name();

    long outFeatures();

    long inFeatures();

    DType dtype();

    /** Bytes of native memory held. */
    long byteSize();
}

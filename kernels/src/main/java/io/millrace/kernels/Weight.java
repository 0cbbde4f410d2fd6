package io.millrace.kernels;

import java.util.List;
import java.util.Map;

/**
 * A linear layer's weight {@code [outFeatures, inFeatures]} in a layout private to the backend that made it (repacked, tiled,
 * quantised as that backend likes).
 */
public interface Weight {
    String name();

    long outFeatures();

    long inFeatures();

    /** The formats of the parts it was made of, each once, in order of first occurrence. */
    List<WeightFormat> formats();

    /** The plain type that holds its values about as well as the weight does: the first part's own, F16 if that is quantised. */
    default DType dtype() {
        return formats().getFirst() instanceof DType plain ? plain : DType.F16;
    }

    /** Multiply-adds for one row of activations, by what this backend makes them of. */
    default Map<DotProduct, Long> products() {
        return Map.of(DotProduct.F32, outFeatures() * inFeatures());
    }

    /** Bytes of native memory held. */
    long byteSize();
}

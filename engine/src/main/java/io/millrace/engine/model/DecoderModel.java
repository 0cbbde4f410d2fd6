package io.millrace.engine.model;

import io.millrace.kernels.DType;
import io.millrace.kernels.KvCache;
import io.millrace.kernels.KvCacheShape;
import io.millrace.kernels.KvCacheType;
import io.millrace.kernels.Ops;
import io.millrace.kernels.Tensor;
import io.millrace.kernels.WeightFormat;
import java.util.Set;

/** A model bound to one backend: weights loaded, activations made, ready to be recorded. */
public interface DecoderModel {
    /** The KV cache this model needs, for a given number of blocks. */
    KvCacheShape kvCacheShape(int numBlocks, int blockSize, KvCacheType dtype);

    /** One step, from token ids to {@link #logits}; called once, under {@link io.millrace.kernels.Backend#record}. */
    void forward(Ops ops, KvCache cache);

    /** Element type of the bulk of the weights, as stored in the checkpoint. */
    DType weightType();

    /** Formats of the layers' weights, each once, the first layer's first. */
    Set<WeightFormat> weightFormats();

    /** F32 {@code [numLogitRows, vocab]}, after {@link #forward}. */
    Tensor logits();
}

package io.millrace.kernels;

import java.util.EnumMap;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.Map;

/**
 * Counts, from the ops of a model, what a step moves through memory and multiplies: the yardstick beside a measured time. Activations
 * are not counted (they stay in caches), nor are products of attention (they depend on the contexts). Give it to a model in place of
 * a recorder.
 */
public final class WorkCounter implements Ops {
    /**
     * What the linears over rows of one extent need.
     *
     * @param weightBytes of all of them, each weight once however many linears use it
     * @param products    multiply-adds for one row
     */
    public record Linears(long weightBytes, Map<DotProduct, Long> products) {}

    private final Map<Weight, Extent> weights = new IdentityHashMap<>();
    private final Map<Extent, Map<DotProduct, Long>> products = new EnumMap<>(Extent.class);
    private long embeddingBytesPerToken;
    private final Map<Integer, Long> kvBytesPerPosition = new HashMap<>();

    /** Linears over every token of a step ({@link Extent#TOKENS}) or over its logit rows. */
    public Linears linears(Extent extent) {
        long bytes = weights.entrySet().stream().filter(entry -> entry.getValue() == extent).mapToLong(entry -> entry.getKey().byteSize()).sum();
        return new Linears(bytes, Map.copyOf(products.getOrDefault(extent, Map.of())));
    }

    /** Bytes of the embedding's row that a token reads. */
    public long embeddingBytesPerToken() {
        return embeddingBytesPerToken;
    }

    /**
     * Bytes of the keys and values of one position over all layers that share a sliding window, by that window (0: none). A token writes
     * them at its own position and reads them at every position that it sees.
     */
    public Map<Integer, Long> kvBytesPerPosition() {
        return Map.copyOf(kvBytesPerPosition);
    }

    @Override
    public void embed(Weight table, float scale, Tensor out) {
        embeddingBytesPerToken += table.byteSize() / table.outFeatures();
    }

    @Override
    public void linear(Tensor x, Weight weight, Tensor bias, Tensor out) {
        weights.merge(weight, x.extent(), (a, b) -> a == Extent.TOKENS ? a : b);
        Map<DotProduct, Long> counts = products.computeIfAbsent(x.extent(), extent -> new EnumMap<>(DotProduct.class));
        weight.products().forEach((product, count) -> counts.merge(product, count, Long::sum));
    }

    @Override
    public void attention(Tensor qkv, AttentionShape shape, Tensor sinks, KvCache cache, int layer, Tensor out) {
        KvCacheShape kv = cache.shape();
        kvBytesPerPosition.merge(shape.slidingWindow(), kv.blockBytes() / kv.blockSize() / kv.numLayers(), Long::sum);
    }

    @Override
    public void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out) {}

    @Override
    public void addRmsNorm(Tensor residual, Tensor delta, Tensor weight, float eps, Tensor out) {}

    @Override
    public void add(Tensor residual, Tensor delta) {}

    @Override
    public void ropeAndCache(Tensor qkv, QkNorm norm, Rope rope, AttentionShape shape, KvCache cache, int layer) {}

    @Override
    public void swiglu(Tensor gateUp, Tensor out) {}

    @Override
    public void geglu(Tensor gateUp, Tensor out) {}

    @Override
    public void softCap(Tensor x, float cap) {}

    @Override
    public void gatherLogitRows(Tensor x, Tensor out) {}

    @Override
    public void sample(Tensor logits) {}
}

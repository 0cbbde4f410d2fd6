package io.millrace.engine;

import io.millrace.engine.MachineProbe.Limit;
import io.millrace.kernels.DotProduct;
import io.millrace.kernels.Extent;
import io.millrace.kernels.WorkCounter;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/**
 * What a model's steps move and compute, counted from its own shapes and formats as they lie in memory. Activations are not counted: they
 * stay in caches. Nor are the products of attention; of linears, all are.
 *
 * @param layerWeightBytes       read once per step, whatever the step's size
 * @param headWeightBytes        read once per step that has logits
 * @param embeddingBytesPerToken read per token
 * @param kvBytesPerPosition     keys and values of one position in all layers with the same sliding window (0: none), by that window;
 *                               written once per token, read by every token that sees the position
 * @param opsPerToken            operations (a multiplication and an addition are two) per token, by the peak that limits them
 * @param opsPerLogitRow         likewise per row of logits
 */
public record ModelWork(long layerWeightBytes, long headWeightBytes, long embeddingBytesPerToken, Map<Integer, Long> kvBytesPerPosition,
        Map<Limit, Long> opsPerToken, Map<Limit, Long> opsPerLogitRow) {
    static ModelWork of(WorkCounter counter) {
        WorkCounter.Linears layers = counter.linears(Extent.TOKENS);
        WorkCounter.Linears head = counter.linears(Extent.LOGIT_ROWS);
        return new ModelWork(layers.weightBytes(), head.weightBytes(), counter.embeddingBytesPerToken(), counter.kvBytesPerPosition(),
                ops(layers.products()), ops(head.products()));
    }

    private static Map<Limit, Long> ops(Map<DotProduct, Long> multiplyAdds) {
        Map<Limit, Long> ops = new EnumMap<>(Limit.class);
        multiplyAdds.forEach((product, count) -> ops.put(Limit.of(product), 2 * count));
        return ops;
    }

    /** Bytes that a token writes to the cache. */
    public long kvBytesPerToken() {
        return kvBytesPerPosition.values().stream().mapToLong(Long::longValue).sum();
    }

    /**
     * Bytes of {@code steps} steps with logits in which each of some sequences computes one token.
     *
     * @param firstContexts of each sequence, the positions that its first of these tokens sees, its own included
     */
    public double decodeBytes(int steps, List<Integer> firstContexts) {
        double bytes = (double) steps * (layerWeightBytes + headWeightBytes);
        bytes += (double) steps * firstContexts.size() * (embeddingBytesPerToken + kvBytesPerToken());
        for (Map.Entry<Integer, Long> layers : kvBytesPerPosition.entrySet()) {
            long positions = 0;
            for (int first : firstContexts) {
                for (int context = first; context < first + steps; context++) {
                    positions += layers.getKey() == 0 ? context : Math.min(context, layers.getKey());
                }
            }
            bytes += (double) positions * layers.getValue();
        }
        return bytes;
    }

    /** Operations of linears for so many tokens and rows of logits, by the peak that limits them. */
    public Map<Limit, Double> ops(long tokens, long logitRows) {
        Map<Limit, Double> ops = new EnumMap<>(Limit.class);
        opsPerToken.forEach((limit, count) -> ops.merge(limit, (double) count * tokens, Double::sum));
        opsPerLogitRow.forEach((limit, count) -> ops.merge(limit, (double) count * logitRows, Double::sum));
        return ops;
    }
}

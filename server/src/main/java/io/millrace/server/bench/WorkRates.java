package io.millrace.server.bench;

import io.millrace.engine.MachineProbe.Limit;
import io.millrace.engine.ModelWork;
import io.millrace.server.bench.EngineBench.Iteration;
import java.util.Collection;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What the iterations of one batch moved and computed per second, and the share of the machine's limits that this is.
 *
 * @param bytesPerToken      bytes read and written per generated token: weights once per step, keys and values of every context
 * @param bandwidth          those bytes per second of generation
 * @param bandwidthShare     of the read bandwidth measured beside it; NaN where none was
 * @param prefillOps         operations of linears per second, from submission to the last first token
 * @param prefillShare       the time that these take at the measured peaks of the instructions they use, over the time they took
 * @param generationOps      operations of linears per second of generation
 * @param generationShare    likewise
 */
public record WorkRates(double bytesPerToken, Spread bandwidth, double bandwidthShare, Spread prefillOps, double prefillShare,
        Spread generationOps, double generationShare) {
    /** @param speed the limits as measured between the iterations */
    public static WorkRates of(List<Iteration> iterations, ModelWork work, MachineSpeed speed) {
        Spread bandwidth = Spread.of(iterations, it -> decodeBytes(it, work) / it.generationSeconds());
        Spread prefill = Spread.of(iterations, it -> sum(prefillWork(it, work)) / it.prefillSeconds());
        Spread generation = Spread.of(iterations, it -> sum(generationWork(it, work)) / it.generationSeconds());
        return new WorkRates(Spread.of(iterations, it -> decodeBytes(it, work) / it.generatedTokens()).median(), bandwidth,
                bandwidth.median() / speed.of(Limit.READ).median(), prefill,
                Spread.of(iterations, it -> speed.secondsAtPeak(prefillWork(it, work)) / it.prefillSeconds()).median(), generation,
                Spread.of(iterations, it -> speed.secondsAtPeak(generationWork(it, work)) / it.generationSeconds()).median());
    }

    /** What has to be measured to say how well this model does. */
    public static Collection<Limit> limits(ModelWork work) {
        Set<Limit> limits = EnumSet.of(Limit.READ);
        limits.addAll(work.opsPerToken().keySet());
        limits.addAll(work.opsPerLogitRow().keySet());
        return limits;
    }

    private static double decodeBytes(Iteration it, ModelWork work) {
        return work.decodeBytes(it.generationSteps(), it.firstContexts());
    }

    private static Map<Limit, Double> prefillWork(Iteration it, ModelWork work) {
        return work.ops(it.promptTokens(), it.batchSize());
    }

    private static Map<Limit, Double> generationWork(Iteration it, ModelWork work) {
        return work.ops(it.generatedTokens(), it.generatedTokens());
    }

    private static double sum(Map<Limit, Double> ops) {
        return ops.values().stream().mapToDouble(Double::doubleValue).sum();
    }

    void putInto(Map<String, Object> map) {
        put(map, "generation_bytes_per_token", bytesPerToken);
        bandwidth.putInto(map, "generation_bytes_per_s");
        put(map, "generation_share_of_read_bandwidth", bandwidthShare);
        generationOps.putInto(map, "generation_operations_per_s");
        put(map, "generation_share_of_peak", generationShare);
        prefillOps.putInto(map, "prompt_operations_per_s");
        put(map, "prompt_share_of_peak", prefillShare);
    }

    private static void put(Map<String, Object> map, String key, double value) {
        if (Double.isFinite(value)) {
            map.put(key, value);
        }
    }

    /** What the model's steps move and compute, under stable names. */
    public static Map<String, Object> toMap(ModelWork work) {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("weight_bytes_per_step", work.layerWeightBytes() + work.headWeightBytes());
        map.put("kv_bytes_per_token", work.kvBytesPerToken());
        map.put("operations_per_prompt_token", byKey(work.opsPerToken()));
        map.put("operations_per_logit_row", byKey(work.opsPerLogitRow()));
        return map;
    }

    private static Map<String, Object> byKey(Map<Limit, Long> ops) {
        Map<String, Object> map = new LinkedHashMap<>();
        ops.forEach((limit, count) -> map.put(limit.key(), count));
        return map;
    }
}

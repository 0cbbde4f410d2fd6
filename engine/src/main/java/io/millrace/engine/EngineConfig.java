package io.millrace.engine;

import java.util.function.Consumer;

/**
 * How to load a model. Zero means "decide from model and machine".
 *
 * @param backend            {@code cpu} (native kernels), {@code cuda}, {@code auto} ({@code cuda} where there is a GPU for it, else {@code cpu}), or
 *                           {@code reference} (scalar Java, slow, the oracle)
 * @param dtype              how weights that are not quantised are multiplied: {@code auto}, {@code bfloat16}, {@code float16}, {@code float32};
 *                           see {@link io.millrace.kernels.Arithmetic}
 * @param maxModelLen        0 = the model's own context length
 * @param maxNumBatchedTokens 0 = default
 * @param kvCacheDtype       {@code auto} (the weights' type), {@code float32}, {@code float16}, {@code bfloat16}, {@code q8_0}
 * @param kvCacheMemoryBytes 0 = from memoryUtilization
 * @param memoryUtilization  share of the memory available to this process at start (cgroup aware), or free on the GPU, that weights, workspace and
 *                           KV cache together may take; 0 = a half, on a GPU nine tenths
 * @param numKvBlocks        0 = from memory; otherwise exactly so many
 * @param threads            0 = one per available core
 * @param quantization       {@code none}, or what plain weights are rounded to: {@code q8_0}, {@code q4_0}, {@code q4_k}; see
 *                           {@link io.millrace.engine.weights.QuantizedWeights}
 * @param quantizationCache  where the rounded weights are kept: {@code none}, {@code model} (beside the model), {@code user}
 * @param threadsBind        processors that the compute threads are bound to: {@code none}, {@code auto}, or a list such as {@code 0-3,8}
 * @param cudaDriver         how the driver of a GPU is called: {@code mixed}, {@code ffm} or {@code jcuda}
 */
public record EngineConfig(String backend, String dtype, int maxModelLen, int maxNumSeqs, int maxNumBatchedTokens, int blockSize, int maxLogprobs,
        String kvCacheDtype, long kvCacheMemoryBytes, double memoryUtilization, int numKvBlocks, int threads, String quantization,
        String quantizationCache, String threadsBind, String cudaDriver) {
    private static final double CPU_UTILIZATION = 0.5;
    private static final double GPU_UTILIZATION = 0.9;

    public static EngineConfig defaults() {
        return new EngineConfig("cpu", "auto", 0, 256, 0, 16, 20, "auto", 0, CPU_UTILIZATION, 0, 0, "none", "none", "none", "mixed");
    }

    /** The share that holds on a GPU or on the machine, if none was asked for. */
    EngineConfig withUtilizationOf(boolean gpu) {
        return memoryUtilization != 0 ? this : with(draft -> draft.memoryUtilization = gpu ? GPU_UTILIZATION : CPU_UTILIZATION);
    }

    /** A copy in which {@code edit} has changed what it wants to. */
    private EngineConfig with(Consumer<Draft> edit) {
        Draft draft = new Draft(this);
        edit.accept(draft);
        return draft.finish();
    }

    public EngineConfig withBackend(String value) {
        return with(draft -> draft.backend = value);
    }

    public EngineConfig withDtype(String value) {
        return with(draft -> draft.dtype = value);
    }

    public EngineConfig withLimits(int modelLen, int numSeqs, int batchedTokens) {
        return with(draft -> {
            draft.maxModelLen = modelLen;
            draft.maxNumSeqs = numSeqs;
            draft.maxNumBatchedTokens = batchedTokens;
        });
    }

    public EngineConfig withKvCache(String dtype, int blocks) {
        return with(draft -> {
            draft.kvCacheDtype = dtype;
            draft.numKvBlocks = blocks;
        });
    }

    public EngineConfig withKvCacheMemory(long bytes) {
        return with(draft -> draft.kvCacheMemoryBytes = bytes);
    }

    public EngineConfig withThreads(int value) {
        return with(draft -> draft.threads = value);
    }

    /** Rounds plain weights at load, without keeping them. */
    public EngineConfig withQuantization(String value) {
        return with(draft -> {
            draft.quantization = value;
            draft.quantizationCache = "none";
        });
    }

    /** The one place that copies; only components that have a {@code with} can change. */
    private static final class Draft {
        private final EngineConfig rest;
        private String backend;
        private String dtype;
        private int maxModelLen;
        private int maxNumSeqs;
        private int maxNumBatchedTokens;
        private String kvCacheDtype;
        private long kvCacheMemoryBytes;
        private double memoryUtilization;
        private int numKvBlocks;
        private int threads;
        private String quantization;
        private String quantizationCache;

        Draft(EngineConfig from) {
            rest = from;
            backend = from.backend;
            dtype = from.dtype;
            maxModelLen = from.maxModelLen;
            maxNumSeqs = from.maxNumSeqs;
            maxNumBatchedTokens = from.maxNumBatchedTokens;
            kvCacheDtype = from.kvCacheDtype;
            kvCacheMemoryBytes = from.kvCacheMemoryBytes;
            memoryUtilization = from.memoryUtilization;
            numKvBlocks = from.numKvBlocks;
            threads = from.threads;
            quantization = from.quantization;
            quantizationCache = from.quantizationCache;
        }

        EngineConfig finish() {
            return new EngineConfig(backend, dtype, maxModelLen, maxNumSeqs, maxNumBatchedTokens, rest.blockSize, rest.maxLogprobs, kvCacheDtype,
                    kvCacheMemoryBytes, memoryUtilization, numKvBlocks, threads, quantization, quantizationCache, rest.threadsBind, rest.cudaDriver);
        }
    }
}

package io.millrace.engine;

import io.millrace.engine.model.DecoderModel;
import io.millrace.engine.model.ModelConfig;
import io.millrace.engine.model.ModelFamilies;
import io.millrace.engine.model.WeightBinder;
import io.millrace.engine.weights.WeightSource;
import io.millrace.kernels.Arithmetic;
import io.millrace.kernels.Backend;
import io.millrace.kernels.Backends;
import io.millrace.kernels.Batch;
import io.millrace.kernels.BatchLimits;
import io.millrace.kernels.DType;
import io.millrace.kernels.KvCacheType;
import io.millrace.kernels.Program;
import java.nio.file.Path;
import java.util.Arrays;

/** A model without sampling: shows the logits of every position, which the engine itself never keeps. */
final class LogitsProbe implements AutoCloseable {
    private static final int BLOCK_SIZE = 16;

    private final int maxTokens;
    private final Backend backend;
    private final Program program;
    private final DecoderModel model;

    /** @param maxTokens the longest context, in whole blocks */
    LogitsProbe(Path path, String backendName, DType kvType, int maxTokens) {
        this.maxTokens = maxTokens;
        int blocks = maxTokens / BLOCK_SIZE;
        // A GPU has no exact products.
        backend = Backends.create(backendName, new BatchLimits(maxTokens, 1, blocks, maxTokens, 0), 2,
                backendName.equals("cuda") ? Arithmetic.AUTO : Arithmetic.EXACT);
        try (ModelSource source = ModelSource.of(path)) {
            ModelConfig config = source.config();
            try (WeightSource weights = source.weights(config)) {
                model = ModelFamilies.of(config).bind(config, new WeightBinder(weights, backend), maxTokens);
            }
        }
        var cache = backend.kvCache(model.kvCacheShape(blocks, BLOCK_SIZE, KvCacheType.of(kvType)));
        program = backend.record(ops -> model.forward(ops, cache));
    }

    /** Logits {@code [ids.length, vocab]}, computed in chunks of {@code chunk} tokens over blocks in descending order. */
    float[][] logits(int[] ids, int chunk) {
        int[] blocks = new int[maxTokens / BLOCK_SIZE];
        for (int j = 0; j < blocks.length; j++) {
            blocks[j] = blocks.length - 1 - j;
        }
        float[][] rows = new float[ids.length][];
        Batch batch = backend.batch();
        for (int first = 0; first < ids.length; first += chunk) {
            int count = Math.min(chunk, ids.length - first);
            batch.clear();
            int t0 = batch.addSequence(ids, first, count, blocks, blocks.length);
            for (int k = 0; k < count; k++) {
                batch.addLogitRow(t0 + k);
            }
            backend.run(program);
            int vocab = (int) model.logits().cols();
            float[] all = backend.read(model.logits(), count);
            for (int k = 0; k < count; k++) {
                rows[first + k] = Arrays.copyOfRange(all, k * vocab, (k + 1) * vocab);
            }
        }
        return rows;
    }

    @Override
    public void close() {
        backend.close();
    }
}

package io.millrace.kernels;

import static io.millrace.kernels.TestValues.assertPoisonedFrom;
import static io.millrace.kernels.TestValues.normal;
import static io.millrace.kernels.TestValues.poison;
import static io.millrace.kernels.TestValues.read;
import static io.millrace.kernels.TestValues.spiky;
import static io.millrace.kernels.TestValues.stored;
import static io.millrace.kernels.TestValues.write;

import java.util.SplittableRandom;
import java.util.function.Supplier;

/**
 * A few sequences of random queries, keys and values that are fed through {@code ropeAndCache} and {@code attention} in any order of
 * steps and chunks, and what definition says must come out. Block tables are scattered over the pool.
 */
final class RaggedAttention implements AutoCloseable {
    static final int LAYERS = 2;
    private static final float EPS = 1e-5f;

    /** A chunk {@code [from, to)} of one sequence in one step. */
    record Chunk(int sequence, int from, int to) {}

    /** What some models have on top of plain attention; the rest of it is in {@link AttentionShape}. */
    record Options(boolean interleaved, boolean norms, boolean sinks) {
        static final Options NONE = new Options(false, false, false);
    }

    /** What a case is made of. The random content of sequence {@code s} depends on {@code seed} and {@code s} alone. */
    record Setup(AttentionShape shape, Options options, KvCacheType kvType, int blockSize, int rotaryDim, int[] lengths, int maxTokens, long seed) {
        int blocksPerSequence() {
            int longest = java.util.Arrays.stream(lengths).max().orElseThrow();
            return (longest + blockSize - 1) / blockSize;
        }

        /** With the cache that the backend has. */
        Setup on(BackendUnderTest factory) {
            return new Setup(shape, options, factory.kvType(kvType), factory.blockSize(blockSize), rotaryDim, lengths, maxTokens, seed);
        }
    }

    final Setup setup;
    final Backend backend;
    final KvCache cache;
    /** Inputs of each sequence, {@code [length, qkvCols]}. */
    final float[][] inputs;
    /** Attention outputs of each sequence as the backend gave them, {@code [length, queryCols]}. */
    final float[][] outputs;
    /** Inputs after the rotation in place, as the backend left them. */
    final float[][] rotated;
    final int[][] blockTables;
    final float[] cos;
    final float[] sin;
    /** Weights of the norms of queries and keys, {@code [headDim]} each; null without norms. */
    final float[][] norms;
    /** {@code [numHeads]}, or null. */
    final float[] sinks;
    private final Tensor qkv;
    private final Tensor out;
    private final Program[] programs = new Program[LAYERS];

    private final boolean rotatesInPlace;
    private final boolean decodesLikeItPrefills;

    RaggedAttention(BackendUnderTest factory, Setup asked, int threads) {
        setup = asked.on(factory);
        rotatesInPlace = factory.rotatesInPlace();
        decodesLikeItPrefills = factory.decodesLikeItPrefills();
        AttentionShape shape = setup.shape();
        int sequences = setup.lengths().length;
        int blocks = setup.blocksPerSequence();
        backend = factory.create(new BatchLimits(setup.maxTokens(), sequences, blocks, 4, 1), threads);
        int numBlocks = sequences * blocks + 3;
        cache = made(() -> backend.kvCache(new KvCacheShape(LAYERS, numBlocks, setup.blockSize(), shape.numKvHeads(), shape.headDim(), setup.kvType())));

        SplittableRandom random = new SplittableRandom(setup.seed());
        int[] pool = shuffled(numBlocks, random);
        blockTables = new int[sequences][blocks];
        inputs = new float[sequences][];
        outputs = new float[sequences][];
        rotated = new float[sequences][];
        for (int s = 0; s < sequences; s++) {
            System.arraycopy(pool, s * blocks, blockTables[s], 0, blocks);
            int length = setup.lengths()[s];
            SplittableRandom content = new SplittableRandom(setup.seed() * 31 + s);
            // Outliers make the softmax of even sequences nearly one-hot; that of odd ones stays broad.
            inputs[s] = s % 2 == 0 ? spiky(content, (long) length * shape.qkvCols()) : normal(content, (long) length * shape.qkvCols(), 1);
            rotated[s] = new float[inputs[s].length];
            outputs[s] = new float[length * shape.queryCols()];
        }
        int half = setup.rotaryDim() / 2;
        int positions = blocks * setup.blockSize();
        cos = new float[positions * half];
        sin = new float[positions * half];
        for (int i = 0; i < cos.length; i++) {
            double angle = i / half * Math.pow(10_000, -(double) (i % half) / half);
            cos[i] = (float) Math.cos(angle);
            sin[i] = (float) Math.sin(angle);
        }
        Rope rope = new Rope(backend.constant("cos", positions, half, cos), backend.constant("sin", positions, half, sin), setup.rotaryDim(),
                setup.options().interleaved());
        SplittableRandom weights = new SplittableRandom(setup.seed() + 1);
        norms = setup.options().norms() ? new float[][] {normal(weights, shape.headDim(), 1), normal(weights, shape.headDim(), 1)} : null;
        QkNorm norm = norms == null ? null
                : new QkNorm(backend.constant("q_norm", 1, shape.headDim(), norms[0]), backend.constant("k_norm", 1, shape.headDim(), norms[1]),
                        EPS);
        sinks = setup.options().sinks() ? normal(weights, shape.numHeads(), 3) : null;
        Tensor sinkRow = sinks == null ? null : backend.constant("sinks", 1, shape.numHeads(), sinks);
        qkv = backend.activations("qkv", Extent.TOKENS, shape.qkvCols());
        out = backend.activations("out", Extent.TOKENS, shape.queryCols());
        for (int s = 0; s < sequences; s++) {
            inputs[s] = stored(qkv, inputs[s]);
        }
        for (int layer = 0; layer < LAYERS; layer++) {
            int l = layer;
            programs[l] = made(() -> backend.record(ops -> {
                ops.ropeAndCache(qkv, norm, rope, shape, cache, l);
                ops.attention(qkv, shape, sinkRow, cache, l, out);
            }));
        }
    }

    /** A backend that refuses something is closed: nobody gets to see it. */
    private <T> T made(Supplier<T> maker) {
        try {
            return maker.get();
        } catch (RuntimeException e) {
            backend.close();
            throw e;
        }
    }

    /** Runs one step of {@code layer} over the chunks, keeps its outputs, and sees to it that nothing beyond them is written. */
    void step(int layer, Chunk... chunks) {
        Batch batch = backend.batch();
        batch.clear();
        poison(backend, qkv);
        poison(backend, out);
        int inCols = setup.shape().qkvCols();
        int outCols = setup.shape().queryCols();
        int tokens = java.util.Arrays.stream(chunks).mapToInt(c -> c.to() - c.from()).sum();
        float[] in = new float[tokens * inCols];
        for (Chunk c : chunks) {
            int blocks = (c.to() + setup.blockSize() - 1) / setup.blockSize();
            int t = batch.addSequence(new int[c.to()], c.from(), c.to() - c.from(), blockTables[c.sequence()], blocks);
            System.arraycopy(inputs[c.sequence()], c.from() * inCols, in, t * inCols, (c.to() - c.from()) * inCols);
        }
        write(backend, qkv, in);
        backend.run(programs[layer]);
        float[] turned = read(backend, qkv, tokens);
        float[] attended = read(backend, out, tokens);
        int t = 0;
        for (Chunk c : chunks) {
            int count = c.to() - c.from();
            System.arraycopy(turned, t * inCols, rotated[c.sequence()], c.from() * inCols, count * inCols);
            System.arraycopy(attended, t * outCols, outputs[c.sequence()], c.from() * outCols, count * outCols);
            t += count;
        }
        assertPoisonedFrom(backend, out, t);
        assertPoisonedFrom(backend, qkv, t);
    }

    /** Every sequence in one piece, one after the other, in as few tokens per step as {@code chunk} says. */
    void prefill(int layer, int chunk) {
        for (int s = 0; s < inputs.length; s++) {
            for (int from = 0, to; from < setup.lengths()[s]; from = to) {
                to = end(s, from, chunk);
                step(layer, new Chunk(s, from, to));
            }
        }
    }

    /**
     * Where a chunk of {@code count} tokens ends. A backend that rounds tokens differently where they come alone gets none alone, but the only one of
     * a sequence.
     */
    int end(int sequence, int from, int count) {
        int length = setup.lengths()[sequence];
        int to = Math.min(from + (decodesLikeItPrefills ? count : Math.max(2, count)), length);
        return !decodesLikeItPrefills && to == length - 1 ? length : to;
    }

    boolean rotatesInPlace() {
        return rotatesInPlace;
    }

    /** {@code [position][kvHead * headDim]} as the cache holds them. */
    float[][] cached(int layer, int sequence, boolean keys) {
        float[][] vectors = new float[setup.lengths()[sequence]][];
        for (int p = 0; p < vectors.length; p++) {
            int block = blockTables[sequence][p / setup.blockSize()];
            int offset = p % setup.blockSize();
            vectors[p] = keys ? cache.readKey(layer, block, offset) : cache.readValue(layer, block, offset);
        }
        return vectors;
    }

    /** Element {@code i} of head {@code head} of a q|k|v row, rotated by the definition: pairs as complex numbers. */
    double rotatedInput(int sequence, int position, int head, int i) {
        int headDim = setup.shape().headDim();
        int half = setup.rotaryDim() / 2;
        int first = position * setup.shape().qkvCols() + head * headDim;
        boolean isValue = head >= setup.shape().numHeads() + setup.shape().numKvHeads();
        if (isValue) {
            return inputs[sequence][first + i];
        }
        if (i >= setup.rotaryDim()) {
            return headInput(sequence, first, head, i);
        }
        boolean interleaved = setup.options().interleaved();
        int pair = interleaved ? i / 2 : i % half;
        double re = headInput(sequence, first, head, interleaved ? 2 * pair : pair);
        double im = headInput(sequence, first, head, interleaved ? 2 * pair + 1 : pair + half);
        double c = cos[position * half + pair];
        double s = sin[position * half + pair];
        return (interleaved ? i % 2 == 0 : i < half) ? re * c - im * s : re * s + im * c;
    }

    /** Element {@code i} of the query or key head that starts at {@code first}, normalized if the setup says so. */
    private double headInput(int sequence, int first, int head, int i) {
        double x = inputs[sequence][first + i];
        if (norms == null) {
            return x;
        }
        int headDim = setup.shape().headDim();
        double squares = 0;
        for (int d = 0; d < headDim; d++) {
            squares += (double) inputs[sequence][first + d] * inputs[sequence][first + d];
        }
        return x / Math.sqrt(squares / headDim + EPS) * norms[head < setup.shape().numHeads() ? 0 : 1][i];
    }

    static int[] shuffled(int count, SplittableRandom random) {
        int[] values = java.util.stream.IntStream.range(0, count).toArray();
        for (int i = count - 1; i > 0; i--) {
            int j = random.nextInt(i + 1);
            int v = values[i];
            values[i] = values[j];
            values[j] = v;
        }
        return values;
    }

    @Override
    public void close() {
        backend.close();
    }
}

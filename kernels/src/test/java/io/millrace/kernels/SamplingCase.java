package io.millrace.kernels;

import static io.millrace.kernels.TestValues.logitRows;
import static io.millrace.kernels.TestValues.poison;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Comparator;
import java.util.SplittableRandom;
import java.util.stream.IntStream;

/** A program of one {@code sample} op, and the definition of sampling in other words than any backend's: sorted lists of objects. */
final class SamplingCase implements AutoCloseable {
    static final int ROWS = 64;
    static final int MAX_TOP = 20;

    final Backend backend;
    final Batch batch;
    final SamplingRows rows;
    final int vocab;
    final Tensor logits;
    final Arena lists = Arena.ofConfined();
    private final Program program;

    SamplingCase(BackendUnderTest factory, int vocab, int threads) {
        this.vocab = vocab;
        backend = factory.create(new BatchLimits(ROWS, 2, 4, ROWS, MAX_TOP), threads);
        batch = backend.batch();
        rows = batch.sampling;
        logits = backend.logits("logits", vocab);
        program = backend.record(ops -> ops.sample(logits));
    }

    /** {@code count} greedy rows over the given logits {@code [count, vocab]}; change the rows, then {@link #run()}. */
    void rows(int count, float[] values) {
        logitRows(batch, count);
        poison(backend, logits);
        TestValues.write(backend, logits, values);
        for (int r = 0; r < ROWS; r++) {
            rows.token.setAtIndex(ValueLayout.JAVA_INT, r, Integer.MIN_VALUE);
        }
    }

    void run() {
        backend.run(program);
    }

    /** One row with these logits and everything off. */
    void row(float... values) {
        rows(1, values);
    }

    int runOne() {
        run();
        return rows.token(0);
    }

    long ints(int... values) {
        return lists.allocateFrom(ValueLayout.JAVA_INT, values).address();
    }

    long floats(float... values) {
        return lists.allocateFrom(ValueLayout.JAVA_FLOAT, values).address();
    }

    /** A mask with the bits of {@code ids} set. */
    long mask(int... ids) {
        MemorySegment words = lists.allocate(4L * ((vocab + 31) / 32), 4);
        for (int id : ids) {
            int word = words.getAtIndex(ValueLayout.JAVA_INT, id / 32);
            words.setAtIndex(ValueLayout.JAVA_INT, id / 32, word | 1 << id % 32);
        }
        return words.address();
    }

    /** Ids from the largest logit down, ties to the lower id. */
    static Integer[] descending(float[] logits) {
        return IntStream.range(0, logits.length).boxed()
                .sorted(Comparator.<Integer>comparingDouble(id -> -logits[id]).thenComparing(Comparator.naturalOrder()))
                .toArray(Integer[]::new);
    }

    static double logSumExp(float[] logits) {
        double max = IntStream.range(0, logits.length).mapToDouble(i -> logits[i]).max().orElseThrow();
        return max + Math.log(IntStream.range(0, logits.length).mapToDouble(i -> Math.exp(logits[i] - max)).sum());
    }

    /**
     * Probabilities of the draw, 0 for what the filters drop; null if a filter's edge is too close to call in float.
     */
    static double[] distribution(float[] logits, double temperature, double minP, int topK, double topP) {
        Integer[] order = descending(logits);
        double[] p = new double[logits.length];
        for (int id = 0; id < p.length; id++) {
            p[id] = Math.exp((logits[id] - (double) logits[order[0]]) / temperature);
        }
        int kept = 0;
        while (kept < p.length && p[order[kept]] >= minP) {
            kept++;
        }
        for (double v : p) {
            if (minP > 0 && Math.abs(v / minP - 1) < 1e-4) {
                return null;
            }
        }
        if (topK > 0) {
            kept = Math.min(kept, topK);
        }
        if (topP < 1) {
            double total = Arrays.stream(order).limit(kept).mapToDouble(id -> p[id]).sum();
            double sum = 0;
            int prefix = 0;
            while (prefix < kept && sum < topP * total) {
                sum += p[order[prefix++]];
                if (Math.abs(sum / total - topP) < 1e-5) {
                    return null;
                }
            }
            kept = prefix;
        }
        double total = Arrays.stream(order).limit(kept).mapToDouble(id -> p[id]).sum();
        double[] result = new double[p.length];
        for (int i = 0; i < kept; i++) {
            result[order[i]] = p[order[i]] / total;
        }
        return result;
    }

    /** The id at {@code u} of the cumulative distribution in id order. */
    static int at(double[] distribution, double u) {
        double sum = 0;
        int last = 0;
        for (int id = 0; id < distribution.length; id++) {
            sum += distribution[id];
            if (distribution[id] > 0) {
                last = id;
                if (sum > u) {
                    return id;
                }
            }
        }
        return last;
    }

    /** The uniform number of draw {@code index}: the JDK's SplittableRandom is the same generator, written by others. */
    static double uniform(long seed, int index) {
        long mixed = new SplittableRandom(seed - 0x9E3779B97F4A7C15L).nextLong();
        SplittableRandom stream = new SplittableRandom(mixed + index * 0x9E3779B97F4A7C15L);
        return (stream.nextLong() >>> 11) * 0x1p-53;
    }

    @Override
    public void close() {
        lists.close();
        backend.close();
    }
}

package io.millrace.kernels.reference;

import io.millrace.kernels.AttentionShape;
import io.millrace.kernels.QkNorm;
import io.millrace.kernels.Rope;
import io.millrace.kernels.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** The operations as plain loops. Sums run in double, in index order, and are rounded to float once, when stored. */
final class ReferenceOps {
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT;
    private static final ValueLayout.OfInt I32 = ValueLayout.JAVA_INT;

    private final StepSlots slots;

    ReferenceOps(StepSlots slots) {
        this.slots = slots;
    }

    private long rows(Tensor t) {
        return switch (t.extent()) {
            case FIXED -> t.rows();
            case TOKENS -> slots.now.numTokens();
            case LOGIT_ROWS -> slots.now.numLogitRows();
        };
    }

    private static float get(Tensor t, long row, long col) {
        return t.data().getAtIndex(F32, row * t.cols() + col);
    }

    private static void set(Tensor t, long row, long col, double value) {
        t.data().setAtIndex(F32, row * t.cols() + col, (float) value);
    }

    void embed(ReferenceWeight table, float scale, Tensor out) {
        for (long t = 0; t < rows(out); t++) {
            int source = slots.now.tokenSource.getAtIndex(I32, t);
            int id = source < 0 ? slots.now.tokenIds.getAtIndex(I32, t) : slots.before.sampling.token(source);
            for (long c = 0; c < out.cols(); c++) {
                set(out, t, c, table.at(id, c) * scale);
            }
        }
    }

    void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out) {
        for (long t = 0; t < rows(x); t++) {
            double squares = 0;
            for (long c = 0; c < x.cols(); c++) {
                double v = get(x, t, c);
                squares += v * v;
            }
            double factor = 1 / Math.sqrt(squares / x.cols() + eps);
            for (long c = 0; c < x.cols(); c++) {
                set(out, t, c, get(x, t, c) * factor * get(weight, 0, c));
            }
        }
    }

    void add(Tensor residual, Tensor delta) {
        for (long t = 0; t < rows(residual); t++) {
            for (long c = 0; c < residual.cols(); c++) {
                set(residual, t, c, get(residual, t, c) + get(delta, t, c));
            }
        }
    }

    /** @param weightRow scratch {@code [inFeatures]} */
    void linear(Tensor x, ReferenceWeight weight, Tensor bias, Tensor out, double[] weightRow) {
        for (long n = 0; n < out.cols(); n++) {
            for (int k = 0; k < weightRow.length; k++) {
                weightRow[k] = weight.at(n, k);
            }
            for (long t = 0; t < rows(x); t++) {
                double sum = bias == null ? 0 : get(bias, 0, n);
                for (int k = 0; k < weightRow.length; k++) {
                    sum += get(x, t, k) * weightRow[k];
                }
                set(out, t, n, sum);
            }
        }
    }

    /** @param vector scratch {@code [headDim]} */
    void ropeAndCache(Tensor qkv, QkNorm norm, Rope rope, AttentionShape shape, ReferenceKvCache cache, int layer, float[] vector) {
        int headDim = shape.headDim();
        int blockSize = cache.shape().blockSize();
        for (long t = 0; t < rows(qkv); t++) {
            int position = slots.now.positions.getAtIndex(I32, t);
            // Queries and keys lie side by side and are rotated alike.
            for (int head = 0; head < shape.numHeads() + shape.numKvHeads(); head++) {
                if (norm != null) {
                    normalizeHead(qkv, t, (long) head * headDim, head < shape.numHeads() ? norm.query() : norm.key(), norm.eps());
                }
                rotate(qkv, t, (long) head * headDim, rope, position);
            }
            int block = block(slots.now.tokenSequence.getAtIndex(I32, t), position / blockSize);
            long key = cache.index(layer, ReferenceKvCache.KEY, block, position % blockSize);
            long value = cache.index(layer, ReferenceKvCache.VALUE, block, position % blockSize);
            for (int col = 0; col < shape.kvCols(); col += headDim) {
                copy(qkv, t, shape.queryCols() + col, vector);
                cache.storeVector(key + col, vector);
                copy(qkv, t, shape.queryCols() + shape.kvCols() + col, vector);
                cache.storeVector(value + col, vector);
            }
        }
    }

    private static void copy(Tensor from, long row, long firstCol, float[] to) {
        MemorySegment.copy(from.data(), F32, 4 * (row * from.cols() + firstCol), to, 0, to.length);
    }

    private static void normalizeHead(Tensor qkv, long t, long firstCol, Tensor weight, float eps) {
        double squares = 0;
        for (long c = 0; c < weight.cols(); c++) {
            double v = get(qkv, t, firstCol + c);
            squares += v * v;
        }
        double factor = 1 / Math.sqrt(squares / weight.cols() + eps);
        for (long c = 0; c < weight.cols(); c++) {
            set(qkv, t, firstCol + c, get(qkv, t, firstCol + c) * factor * get(weight, 0, c));
        }
    }

    private static void rotate(Tensor qkv, long t, long firstCol, Rope rope, int position) {
        int half = rope.rotaryDim() / 2;
        for (int i = 0; i < half; i++) {
            double cos = get(rope.cos(), position, i);
            double sin = get(rope.sin(), position, i);
            long first = firstCol + (rope.interleaved() ? 2 * i : i);
            long second = rope.interleaved() ? first + 1 : first + half;
            double a = get(qkv, t, first);
            double b = get(qkv, t, second);
            set(qkv, t, first, a * cos - b * sin);
            set(qkv, t, second, b * cos + a * sin);
        }
    }

    private int block(int sequence, int index) {
        return slots.now.blockTables.getAtIndex(I32, (long) sequence * slots.now.maxBlocksPerSequence() + index);
    }

    /**
     * @param scores scratch {@code [longest context]}
     * @param sum    scratch {@code [headDim]}
     */
    void attention(Tensor qkv, AttentionShape shape, Tensor sinks, ReferenceKvCache cache, int layer, Tensor out, double[] scores,
            double[] sum) {
        int headsPerKvHead = shape.numHeads() / shape.numKvHeads();
        for (long t = 0; t < rows(qkv); t++) {
            for (int head = 0; head < shape.numHeads(); head++) {
                attend(qkv, t, head, head / headsPerKvHead, shape, sinks, cache, layer, scores, sum);
                for (int i = 0; i < sum.length; i++) {
                    set(out, t, (long) head * shape.headDim() + i, sum[i]);
                }
            }
        }
    }

    /** One query head of one token over the positions that it sees: scores, softmax, weighted sum of the values. */
    private void attend(Tensor qkv, long t, int head, int kvHead, AttentionShape shape, Tensor sinks, ReferenceKvCache cache,
            int layer, double[] scores, double[] sum) {
        int headDim = shape.headDim();
        int blockSize = cache.shape().blockSize();
        int sequence = slots.now.tokenSequence.getAtIndex(I32, t);
        int contextEnd = slots.now.positions.getAtIndex(I32, t) + 1;
        int contextBegin = shape.slidingWindow() == 0 ? 0 : Math.max(0, contextEnd - shape.slidingWindow());
        double max = sinks == null ? Double.NEGATIVE_INFINITY : get(sinks, 0, head);
        for (int p = contextBegin; p < contextEnd; p++) {
            long key = cache.index(layer, ReferenceKvCache.KEY, block(sequence, p / blockSize), p % blockSize) + (long) kvHead * headDim;
            double dot = 0;
            for (int i = 0; i < headDim; i++) {
                dot += (double) get(qkv, t, (long) head * headDim + i) * cache.load(key + i);
            }
            double score = dot * shape.scale();
            scores[p] = shape.softCap() == 0 ? score : shape.softCap() * Math.tanh(score / shape.softCap());
            max = Math.max(max, scores[p]);
        }
        double total = sinks == null ? 0 : Math.exp(get(sinks, 0, head) - max);
        java.util.Arrays.fill(sum, 0);
        for (int p = contextBegin; p < contextEnd; p++) {
            double weight = Math.exp(scores[p] - max);
            total += weight;
            long value = cache.index(layer, ReferenceKvCache.VALUE, block(sequence, p / blockSize), p % blockSize) + (long) kvHead * headDim;
            for (int i = 0; i < headDim; i++) {
                sum[i] += weight * cache.load(value + i);
            }
        }
        for (int i = 0; i < headDim; i++) {
            sum[i] /= total;
        }
    }

    void swiglu(Tensor gateUp, Tensor out) {
        for (long t = 0; t < rows(out); t++) {
            for (long c = 0; c < out.cols(); c++) {
                double gate = get(gateUp, t, c);
                double up = get(gateUp, t, out.cols() + c);
                set(out, t, c, gate / (1 + Math.exp(-gate)) * up);
            }
        }
    }

    void geglu(Tensor gateUp, Tensor out) {
        for (long t = 0; t < rows(out); t++) {
            for (long c = 0; c < out.cols(); c++) {
                double gate = get(gateUp, t, c);
                double up = get(gateUp, t, out.cols() + c);
                set(out, t, c, 0.5 * gate * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (gate + 0.044715 * gate * gate * gate))) * up);
            }
        }
    }

    void softCap(Tensor x, float cap) {
        for (long t = 0; t < rows(x); t++) {
            for (long c = 0; c < x.cols(); c++) {
                set(x, t, c, cap * Math.tanh((double) get(x, t, c) / cap));
            }
        }
    }

    void gatherLogitRows(Tensor x, Tensor out) {
        long rowBytes = 4 * x.cols();
        for (long r = 0; r < rows(out); r++) {
            MemorySegment.copy(x.data(), slots.now.logitRows.getAtIndex(I32, r) * rowBytes, out.data(), r * rowBytes, rowBytes);
        }
    }
}

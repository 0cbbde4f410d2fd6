package io.millrace.kernels.reference;

import io.millrace.kernels.DType;
import io.millrace.kernels.KvCache;
import io.millrace.kernels.KvCacheShape;
import io.millrace.kernels.KvCacheType;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Layout {@code [layer][key, value][block][offset][kvHead]} of vectors; one of type Q8_0 is its codes, then its scales. */
record ReferenceKvCache(KvCacheShape shape, MemorySegment data) implements KvCache {
    static final int KEY = 0;
    static final int VALUE = 1;

    /** Number of the first element of the vector of all heads at {@code (layer, kind, block, offset)}. */
    long index(int layer, int kind, int blockId, int offset) {
        long token = ((long) (2 * layer + kind) * shape.numBlocks() + blockId) * shape.blockSize() + offset;
        return token * shape.numKvHeads() * shape.headDim();
    }

    float load(long index) {
        if (shape.dtype() != KvCacheType.Q8_0) {
            return shape.dtype().elements().load(data, index);
        }
        MemorySegment vector = vector(index);
        int d = (int) (index % shape.headDim());
        return vector.get(ValueLayout.JAVA_BYTE, d) * scales(vector, d);
    }

    /** Stores one head's vector from its first element on. */
    void storeVector(long index, float[] x) {
        if (shape.dtype() != KvCacheType.Q8_0) {
            for (int d = 0; d < x.length; d++) {
                shape.dtype().elements().store(data, index + d, x[d]);
            }
            return;
        }
        MemorySegment vector = vector(index);
        for (int from = 0; from < x.length; from += KvCacheType.SCALE_BLOCK) {
            int to = Math.min(x.length, from + KvCacheType.SCALE_BLOCK);
            short scale = scaleOf(x, from, to);
            vector.set(ValueLayout.JAVA_SHORT_UNALIGNED, scaleOffset(from), scale);
            float s = Float.float16ToFloat(scale);
            for (int d = from; d < to; d++) {
                vector.set(ValueLayout.JAVA_BYTE, d, (byte) (Float.isNaN(s) ? 1 : s == 0 ? 0 : Math.rint(x[d] / s)));
            }
        }
    }

    /** The largest magnitude / 127 as F16, rounded up; NaN if an element is not finite or beyond what a scale can say. */
    private static short scaleOf(float[] x, int from, int to) {
        float largest = 0;
        for (int d = from; d < to; d++) {
            largest = Math.max(largest, Math.abs(x[d]));
        }
        if (!(largest <= 8.3e6f)) {
            return Float.floatToFloat16(Float.NaN);
        }
        float exact = largest / 127;
        short scale = Float.floatToFloat16(exact);
        return (short) (Float.float16ToFloat(scale) < exact ? scale + 1 : scale);
    }

    private MemorySegment vector(long index) {
        long bytes = shape.dtype().vectorBytes(shape.headDim());
        return data.asSlice(index / shape.headDim() * bytes, bytes);
    }

    private float scales(MemorySegment vector, int d) {
        return DType.F16.load(vector.asSlice(scaleOffset(d), 2), 0);
    }

    private long scaleOffset(int d) {
        return shape.headDim() + 2L * (d / KvCacheType.SCALE_BLOCK);
    }

    @Override
    public float[] readKey(int layer, int blockId, int offset) {
        return read(layer, KEY, blockId, offset);
    }

    @Override
    public float[] readValue(int layer, int blockId, int offset) {
        return read(layer, VALUE, blockId, offset);
    }

    private float[] read(int layer, int kind, int blockId, int offset) {
        float[] vector = new float[shape.numKvHeads() * shape.headDim()];
        long first = index(layer, kind, blockId, offset);
        for (int i = 0; i < vector.length; i++) {
            vector[i] = load(first + i);
        }
        return vector;
    }
}

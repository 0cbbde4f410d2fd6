package io.millrace.kernels.reference;

import io.millrace.kernels.KvCache;
import io.millrace.kernels.KvCacheShape;
import java.lang.foreign.MemorySegment;

/** Layout {@code [layer][key, value][block][offset][kvHead][headDim]} in the cache's element type. */
record ReferenceKvCache(KvCacheShape shape, MemorySegment data) implements KvCache {
    static final int KEY = 0;
    static final int VALUE = 1;

    /** Index of the first element of the vector of all heads at {@code (layer, kind, block, offset)}. */
    long index(int layer, int kind, int blockId, int offset) {
        long token = ((long) (2 * layer + kind) * shape.numBlocks() + blockId) * shape.blockSize() + offset;
        return token * shape.numKvHeads() * shape.headDim();
    }

    float load(long index) {
        return shape.dtype().load(data, index);
    }

    void store(long index, float value) {
        shape.dtype().store(data, index, value);
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

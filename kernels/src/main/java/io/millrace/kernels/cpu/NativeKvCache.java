package io.millrace.kernels.cpu;

import io.millrace.kernels.KvCache;
import io.millrace.kernels.KvCacheShape;
import java.lang.foreign.MemorySegment;

/**
 * Keys {@code [layer][block][kvHead][headDim][blockSize]}, values {@code [layer][block][kvHead][blockSize][headDim]}; see
 * {@code mr_kv_cache}.
 */
record NativeKvCache(NativeCpuBackend owner, KvCacheShape shape, MemorySegment keys, MemorySegment values) implements KvCache {
    @Override
    public float[] readKey(int layer, int blockId, int offset) {
        return read(keys, layer, blockId, offset, 1, shape.blockSize());
    }

    @Override
    public float[] readValue(int layer, int blockId, int offset) {
        return read(values, layer, blockId, offset, shape.headDim(), 1);
    }

    private float[] read(MemorySegment data, int layer, int blockId, int offset, int offsetStride, int elementStride) {
        if (layer < 0 || layer >= shape.numLayers() || blockId < 0 || blockId >= shape.numBlocks() || offset < 0
                || offset >= shape.blockSize()) {
            throw new IndexOutOfBoundsException("layer " + layer + ", block " + blockId + ", offset " + offset + " is outside " + shape);
        }
        float[] vector = new float[shape.numKvHeads() * shape.headDim()];
        for (int head = 0; head < shape.numKvHeads(); head++) {
            long start = (((long) layer * shape.numBlocks() + blockId) * shape.numKvHeads() + head) * shape.headDim() * shape.blockSize()
                    + (long) offset * offsetStride;
            for (int d = 0; d < shape.headDim(); d++) {
                vector[head * shape.headDim() + d] = shape.dtype().load(data, start + (long) d * elementStride);
            }
        }
        return vector;
    }
}

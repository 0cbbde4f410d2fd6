package io.millrace.kernels.cpu;

import io.millrace.kernels.DType;
import io.millrace.kernels.KvCache;
import io.millrace.kernels.KvCacheShape;
import io.millrace.kernels.KvCacheType;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** The layout is that of {@code mr_kv_cache}: groups of 16 positions, or of a whole block if its size is no multiple of that. */
record NativeKvCache(NativeCpuBackend owner, KvCacheShape shape, MemorySegment keys, MemorySegment values) implements KvCache {
    private static final int LANES = 16;

    @Override
    public float[] readKey(int layer, int blockId, int offset) {
        return read(keys, layer, blockId, offset, true);
    }

    @Override
    public float[] readValue(int layer, int blockId, int offset) {
        return read(values, layer, blockId, offset, false);
    }

    private float[] read(MemorySegment data, int layer, int blockId, int offset, boolean key) {
        if (layer < 0 || layer >= shape.numLayers() || blockId < 0 || blockId >= shape.numBlocks() || offset < 0
                || offset >= shape.blockSize()) {
            throw new IndexOutOfBoundsException("layer " + layer + ", block " + blockId + ", offset " + offset + " is outside " + shape);
        }
        int headDim = shape.headDim();
        int lanes = shape.blockSize() % LANES == 0 ? LANES : shape.blockSize();
        long groupBytes = lanes * shape.dtype().vectorBytes(headDim);
        float[] vector = new float[shape.numKvHeads() * headDim];
        for (int head = 0; head < shape.numKvHeads(); head++) {
            long block = ((long) layer * shape.numBlocks() + blockId) * shape.numKvHeads() + head;
            MemorySegment group = data.asSlice((block * (shape.blockSize() / lanes) + offset / lanes) * groupBytes, groupBytes);
            for (int d = 0; d < headDim; d++) {
                vector[head * headDim + d] = key ? keyAt(group, lanes, d, offset % lanes) : valueAt(group, lanes, d, offset % lanes);
            }
        }
        return vector;
    }

    private float keyAt(MemorySegment group, int lanes, int d, int lane) {
        return switch (shape.dtype()) {
            case F32, F16 -> shape.dtype().elements().load(group, (long) d * lanes + lane);
            case BF16 -> DType.BF16.load(group, (d / 2 * (long) lanes + lane) * 2 + d % 2);
            case Q8_0 -> group.get(ValueLayout.JAVA_BYTE, (long) d * lanes + lane)
                    * scale(group, lanes, d / KvCacheType.SCALE_BLOCK * lanes + lane);
        };
    }

    private float valueAt(MemorySegment group, int lanes, int d, int lane) {
        int headDim = shape.headDim();
        return switch (shape.dtype()) {
            case F32, F16 -> shape.dtype().elements().load(group, (long) lane * headDim + d);
            case BF16 -> DType.BF16.load(group, lanes % 2 == 0 ? (lane / 2 * (long) headDim + d) * 2 + lane % 2 : (long) lane * headDim + d);
            case Q8_0 -> group.get(ValueLayout.JAVA_BYTE, (long) lane * headDim + d)
                    * scale(group, lanes, lane * KvCacheType.scales(headDim) + d / KvCacheType.SCALE_BLOCK);
        };
    }

    private float scale(MemorySegment group, int lanes, int index) {
        return DType.F16.load(group.asSlice((long) lanes * shape.headDim()), index);
    }
}

package io.millrace.kernels.cuda;

import io.millrace.kernels.DType;
import io.millrace.kernels.KvCache;
import io.millrace.kernels.KvCacheShape;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * The cache in device memory: per layer {@code [block][kvHead][key, value][16][width]} BF16 with 16-byte chunks swizzled within their page, as
 * {@code millrace_cuda.h} says.
 *
 * @param width elements of a head as they lie there, {@link Widths#head}
 */
record CudaKvCache(CudaBackend owner, KvCacheShape shape, int width, long address) implements KvCache {
    /** Tokens per block: a page is the tile of the tensor cores. */
    static final int PAGE = 16;

    static long byteSize(KvCacheShape shape, int width) {
        return layerBytes(shape, width) * shape.numLayers();
    }

    private static long layerBytes(KvCacheShape shape, int width) {
        return 2L * 2 * PAGE * width * shape.numKvHeads() * shape.numBlocks();
    }

    long layer(int layer) {
        return address + layer * layerBytes(shape, width);
    }

    @Override
    public float[] readKey(int layer, int blockId, int offset) {
        return read(layer, blockId, offset, 0);
    }

    @Override
    public float[] readValue(int layer, int blockId, int offset) {
        return read(layer, blockId, offset, 1);
    }

    private float[] read(int layer, int blockId, int offset, int kind) {
        if (layer < 0 || layer >= shape.numLayers() || blockId < 0 || blockId >= shape.numBlocks() || offset < 0 || offset >= PAGE) {
            throw new IndexOutOfBoundsException("layer " + layer + ", block " + blockId + ", offset " + offset + " is outside " + shape);
        }
        int headDim = shape.headDim();
        long pageBytes = 2L * PAGE * width;
        long blockBytes = 2 * pageBytes * shape.numKvHeads();
        float[] vector = new float[shape.numKvHeads() * headDim];
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment block = arena.allocate(blockBytes, 64);
            owner.copyToHost(block, layer(layer) + blockId * blockBytes, blockBytes);
            for (int head = 0; head < shape.numKvHeads(); head++) {
                MemorySegment page = block.asSlice((2L * head + kind) * pageBytes, pageBytes);
                for (int d = 0; d < headDim; d++) {
                    vector[head * headDim + d] = DType.BF16.load(page, (long) offset * width + 8L * chunk(d / 8, offset) + d % 8);
                }
            }
        }
        return vector;
    }

    private int chunk(int chunk, int row) {
        int chunks = width / 8;
        return chunks % 8 == 0 ? chunk ^ (row & 7) : chunks % 4 == 0 ? chunk ^ (row >> 1 & 3) : chunks % 2 == 0 ? chunk ^ (row >> 2 & 1) : chunk;
    }
}

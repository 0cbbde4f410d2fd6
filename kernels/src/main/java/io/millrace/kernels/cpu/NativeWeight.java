package io.millrace.kernels.cpu;

import io.millrace.kernels.DType;
import io.millrace.kernels.Weight;
import java.lang.foreign.MemorySegment;

/**
 * A weight packed into column tiles; see {@code mr_pack_weight}.
 *
 * @param owner  the backend whose memory holds it
 * @param packed the tiles
 */
record NativeWeight(NativeCpuBackend owner, String name, DType dtype, long outFeatures, long inFeatures, MemorySegment packed)
        implements Weight {
    @Override
    public long byteSize() {
        return packed.byteSize();
    }
}

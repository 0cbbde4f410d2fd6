package io.millrace.kernels.cuda;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.millrace.kernels.AbstractBackendTest;
import io.millrace.kernels.AttentionShape;
import io.millrace.kernels.Backend;
import io.millrace.kernels.BatchLimits;
import io.millrace.kernels.DType;
import io.millrace.kernels.KvCacheType;
import io.millrace.kernels.WeightFormat;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;

/**
 * The suite that all backends pass, over the stub libcuda: the very kernels, on the emulator. Tolerances are those of BF16: half a unit in its
 * last place is at most 2^-8 of a value.
 */
class CudaBackendTest extends AbstractBackendTest {
    /** Rounding once, with a little for the sums before it. */
    private static final double ONCE = 0x1p-8 * 1.02;

    @BeforeAll
    static void stub() {
        assumeTrue(StubCuda.missing() == null, StubCuda.missing());
        StubCuda.reset();
        CudaImages.install();
    }

    @AfterAll
    static void nothingIsLeft() {
        if (StubCuda.missing() == null) {
            CudaImages.assertNothingIsLeft();
        }
    }

    @Override
    public Backend create(BatchLimits limits, int threads) {
        return CudaBackend.create(limits, "ffm");
    }

    @Override
    public boolean emulated() {
        return true;
    }

    @Override
    public double storedTolerance() {
        return ONCE;
    }

    /** Weights that are not BF16 are rounded; where an output is, too, that comes on top. */
    @Override
    public double weightTolerance(WeightFormat format) {
        return format == DType.BF16 ? ONCE : 2 * ONCE;
    }

    @Override
    public double linearTolerance(DType weightType) {
        return weightTolerance(weightType);
    }

    /** Queries, the softmax's weights and the output are rounded once each. */
    @Override
    public double attentionTolerance(AttentionShape shape, KvCacheType type, int blockSize, double size) {
        return 2.5 * ONCE + Math.expm1(1.1 * ONCE * size);
    }

    @Override
    public KvCacheType kvType(KvCacheType asked) {
        return KvCacheType.BF16;
    }

    @Override
    public int blockSize(int asked) {
        return CudaKvCache.PAGE;
    }

    @Override
    public boolean serves(int headDim, int rotaryDim, boolean interleaved) {
        return Widths.head(headDim) > 0 && (interleaved || rotaryDim % 4 == 0);
    }

    @Override
    public boolean decodesLikeItPrefills() {
        return false;
    }

    @Override
    public boolean rotatesInPlace() {
        return false;
    }
}

package io.millrace.kernels.cpu;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.millrace.bindings.CpuKernels;
import io.millrace.kernels.AbstractBackendTest;
import io.millrace.kernels.Arithmetic;
import io.millrace.kernels.AttentionShape;
import io.millrace.kernels.Backend;
import io.millrace.kernels.BatchLimits;
import io.millrace.kernels.DType;
import io.millrace.kernels.KvCacheType;
import io.millrace.kernels.WeightFormat;
import org.junit.jupiter.api.Nested;

/** The suite of all backends, once per instruction set that this machine can run. */
class NativeSuiteTest {
    abstract static class OnIsa extends AbstractBackendTest {
        private final CpuIsa isa;

        OnIsa(CpuIsa isa) {
            this.isa = isa;
        }

        @Override
        public Backend create(BatchLimits limits, int threads) {
            CpuKernels.library().require();
            assumeTrue(CpuIsa.available().contains(isa), () -> "this machine cannot run " + isa.label());
            return NativeCpuBackend.create(limits, threads, isa);
        }

        @Override
        public boolean roundsActivations() {
            return true;
        }
    }

    @Nested
    class Portable extends OnIsa {
        Portable() {
            super(CpuIsa.PORTABLE);
        }
    }

    @Nested
    class Avx2 extends OnIsa {
        Avx2() {
            super(CpuIsa.AVX2);
        }
    }

    @Nested
    class Avx512 extends OnIsa {
        Avx512() {
            super(CpuIsa.AVX512);
        }
    }

    @Nested
    class Avx512Vnni extends OnIsa {
        Avx512Vnni() {
            super(CpuIsa.AVX512_VNNI);
        }
    }

    /** BF16 products: what is rounded to BF16 is off by 2^-8 of itself at most. Activations always are, weights where they had more bits. */
    abstract static class Bf16Products extends AbstractBackendTest {
        private final Arithmetic arithmetic;

        Bf16Products(Arithmetic arithmetic) {
            this.arithmetic = arithmetic;
        }

        @Override
        public Backend create(BatchLimits limits, int threads) {
            CpuKernels.library().require();
            CpuIsa best = CpuIsa.available().getLast();
            assumeTrue(CpuKernels.hasBf16Dot(best.ordinal()), () -> "this machine does not multiply BF16 (AVX512_BF16)");
            return NativeCpuBackend.create(limits, threads, best, arithmetic);
        }

        @Override
        public double linearTolerance(DType weightType) {
            double rounded = weightTolerance(weightType);
            boolean paired = weightType == DType.BF16 || rounded > 0;
            return paired ? 1.0 / 256 + rounded * (1 + 1.0 / 256) + 1e-5 : super.linearTolerance(weightType);
        }

        /** Queries are off by 2^-8 of themselves at most, softmax weights and their sum likewise; weights are e to the power of an error in the score. */
        @Override
        public double attentionTolerance(AttentionShape shape, KvCacheType type, int blockSize, double size) {
            boolean paired = type == KvCacheType.BF16 && blockSize % 16 == 0 && shape.headDim() % 16 == 0;
            return paired ? 2.0 / 256 + Math.expm1(2 * size / 256) + 1e-5 : super.attentionTolerance(shape, type, blockSize, size);
        }

        @Override
        public double weightTolerance(WeightFormat format) {
            return format == DType.F16 || format == DType.F32 && arithmetic == Arithmetic.BF16 ? 1.0 / 256 : 0;
        }

        @Override
        public boolean roundsActivations() {
            return true;
        }
    }

    @Nested
    class Bf16ProductsForHalves extends Bf16Products {
        Bf16ProductsForHalves() {
            super(Arithmetic.AUTO);
        }
    }

    @Nested
    class Bf16ProductsForAll extends Bf16Products {
        Bf16ProductsForAll() {
            super(Arithmetic.BF16);
        }
    }

    @Nested
    class Neon extends OnIsa {
        Neon() {
            super(CpuIsa.NEON);
        }
    }
}

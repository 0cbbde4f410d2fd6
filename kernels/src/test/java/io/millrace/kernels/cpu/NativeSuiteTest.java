package io.millrace.kernels.cpu;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.millrace.bindings.CpuKernels;
import io.millrace.kernels.AbstractBackendTest;
import io.millrace.kernels.Backend;
import io.millrace.kernels.BatchLimits;
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
    class Neon extends OnIsa {
        Neon() {
            super(CpuIsa.NEON);
        }
    }
}

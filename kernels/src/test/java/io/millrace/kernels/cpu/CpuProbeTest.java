package io.millrace.kernels.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.bindings.CpuKernels;
import io.millrace.bindings.cpu.generated.MillraceCpu;
import io.millrace.kernels.DotProduct;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.assertj.core.api.Assertions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class CpuProbeTest {
    private static final int MIB = 1 << 20;

    @BeforeEach
    void needsTheLibrary() {
        CpuKernels.library().require();
    }

    /**
     * Property: rates are of this universe: no core reads a terabyte or computes a hundred tera-operations a second, and none is so slow
     * that the probe must have measured something else. A wrong unit is off by a thousand.
     */
    @Test
    void ratesArePlausible() {
        try (CpuProbe probe = CpuProbe.open(1)) {
            assertThat(probe.read()).isBetween(1e8, 1e12);
            assertThat(probe.copy()).isBetween(1e8, 1e12);
            for (DotProduct product : DotProduct.values()) {
                if (probe.has(product)) {
                    assertThat(probe.products(product)).as(product.name()).isBetween(1e8, 1e14);
                }
            }
        }
    }

    /** Property: on every instruction set of this machine, items times their size is the work that is reported; copying copies. */
    @Test
    void workIsCounted() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment data = arena.allocate(4L * MIB + 100, 64);
            for (long i = 0; i < data.byteSize(); i++) {
                data.set(ValueLayout.JAVA_BYTE, i, (byte) (i * 31 + i / MIB));
            }
            for (CpuIsa isa : CpuIsa.available()) {
                MemorySegment team = CpuKernels.createTeam(2, isa.ordinal());
                try {
                    CpuKernels.Probed read = CpuKernels.probe(team, MillraceCpu.MR_PROBE_READ(), data, 7);
                    assertThat(read.work()).isEqualTo(7L * MIB);
                    assertThat(read.nanos()).isPositive();
                    data.asSlice(2L * MIB, 2L * MIB).fill((byte) 0);
                    assertThat(CpuKernels.probe(team, MillraceCpu.MR_PROBE_COPY(), data, 2).work()).isEqualTo(4L * MIB);
                    assertThat(data.asSlice(0, 2L * MIB).mismatch(data.asSlice(2L * MIB, 2L * MIB))).isEqualTo(-1);
                    long f32 = CpuKernels.probe(team, MillraceCpu.MR_PROBE_PRODUCTS_F32(), MemorySegment.NULL, 3).work();
                    assertThat(CpuKernels.probe(team, MillraceCpu.MR_PROBE_PRODUCTS_INT8(), MemorySegment.NULL, 3).work()).isEqualTo(4 * f32);
                } finally {
                    CpuKernels.destroyTeam(team);
                }
            }
        }
    }

    /** Property: a probe that makes no sense here is refused with a status, not run. */
    @Test
    void nonsenseIsRefused() {
        MemorySegment team = CpuKernels.createTeam(1, CpuIsa.PORTABLE.ordinal());
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment data = arena.allocate(4L * MIB, 64);
            refused(team, MillraceCpu.MR_PROBE_READ(), data.asSlice(0, MIB), 1);
            refused(team, MillraceCpu.MR_PROBE_READ(), data.asSlice(8), 1);
            refused(team, MillraceCpu.MR_PROBE_READ(), MemorySegment.NULL, 1);
            refused(team, MillraceCpu.MR_PROBE_PRODUCTS_F32(), MemorySegment.NULL, 0);
            refused(team, 99, MemorySegment.NULL, 1);
            // Portable kernels have no BF16 products, whatever the processor has.
            refused(team, MillraceCpu.MR_PROBE_PRODUCTS_BF16(), MemorySegment.NULL, 1);
        } finally {
            CpuKernels.destroyTeam(team);
        }
    }

    private static void refused(MemorySegment team, int probe, MemorySegment data, long items) {
        Assertions.assertThatThrownBy(() -> CpuKernels.probe(team, probe, data, items)).hasMessageContaining("NATIVE-007");
    }
}

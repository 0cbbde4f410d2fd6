package io.millrace.kernels.cpu;

import io.millrace.bindings.CpuKernels;
import io.millrace.bindings.cpu.generated.MillraceCpu;
import io.millrace.kernels.DotProduct;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Measures what the machine can do at best, on a thread team like the one that runs programs and with the same instruction set. Rounds are
 * short, so that they can alternate with what they are compared to: on a shared machine the limits change from minute to minute. Used by
 * one thread at a time.
 */
public final class CpuProbe implements AutoCloseable {
    /** Some times the last-level cache of a core complex; far less than a model. */
    private static final long MEMORY_BYTES = 512L << 20;
    private static final int PIECE_BYTES = 1 << 20;
    private static final double ROUND_SECONDS = 0.02;

    private final Arena arena = Arena.ofShared();
    private final MemorySegment team;
    private final CpuIsa isa;
    private MemorySegment memory;

    private CpuProbe(int threads, CpuIsa isa) {
        this.isa = isa;
        this.team = CpuKernels.createTeam(threads, isa.ordinal());
    }

    /**
     * A probe with the instruction set that a backend made now would use.
     *
     * @throws IllegalStateException {@code NATIVE-...} with reason and remedy if the native library cannot be used
     */
    public static CpuProbe open(int threads) {
        CpuKernels.library().require();
        return new CpuProbe(threads, CpuIsa.chosen());
    }

    /** Bytes read per second, from memory of half a gigabyte. */
    public double read() {
        return perSecond(MillraceCpu.MR_PROBE_READ(), memory(), MEMORY_BYTES / PIECE_BYTES);
    }

    /** Bytes read and written per second. */
    public double copy() {
        return perSecond(MillraceCpu.MR_PROBE_COPY(), memory(), MEMORY_BYTES / PIECE_BYTES / 2);
    }

    public boolean has(DotProduct product) {
        return product != DotProduct.BF16 || CpuKernels.hasBf16Dot(isa.ordinal());
    }

    /** Operations per second of products in registers, a multiplication and an addition being two; needs {@link #has}. */
    public double products(DotProduct product) {
        int probe = switch (product) {
            case F32 -> MillraceCpu.MR_PROBE_PRODUCTS_F32();
            case BF16 -> MillraceCpu.MR_PROBE_PRODUCTS_BF16();
            case INT8 -> MillraceCpu.MR_PROBE_PRODUCTS_INT8();
        };
        // A first look, which also wakes the team, says how many portions make a round.
        CpuKernels.Probed few = CpuKernels.probe(team, probe, MemorySegment.NULL, 8);
        long items = (long) Math.clamp(8 * ROUND_SECONDS * 1e9 / Math.max(1, few.nanos()), 8, 1 << 20);
        return perSecond(probe, MemorySegment.NULL, items);
    }

    private double perSecond(int probe, MemorySegment data, long items) {
        CpuKernels.Probed probed = CpuKernels.probe(team, probe, data, items);
        return probed.work() * 1e9 / Math.max(1, probed.nanos());
    }

    /** Written once: pages that were never written may all be the same one. */
    private MemorySegment memory() {
        if (memory == null) {
            memory = CpuKernels.allocate(MEMORY_BYTES, arena).fill((byte) 1);
        }
        return memory;
    }

    @Override
    public void close() {
        if (arena.scope().isAlive()) {
            CpuKernels.destroyTeam(team);
            arena.close();
        }
    }
}

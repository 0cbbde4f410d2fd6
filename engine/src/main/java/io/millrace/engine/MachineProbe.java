package io.millrace.engine;

import io.millrace.kernels.DotProduct;
import io.millrace.kernels.cpu.CpuInfo;
import io.millrace.kernels.cpu.CpuProbe;
import java.util.EnumSet;
import java.util.Optional;
import java.util.Set;

/**
 * Measures what this machine can do at best, in short rounds that can alternate with what they are compared to. Used by one thread at a
 * time, while no engine is at work.
 */
public final class MachineProbe implements AutoCloseable {
    /** What can be measured, in bytes or operations per second. */
    public enum Limit {
        /** Reading memory, all threads. */
        READ("read_bandwidth", null),
        /** Reading memory, one thread. */
        READ_ONE_THREAD("read_bandwidth_1_thread", null),
        /** Copying memory, bytes read and bytes written together. */
        COPY("copy_bandwidth", null),
        /** Fused multiply-adds of floats; two operations each. */
        FP32("fp32_peak", DotProduct.F32),
        /** Dot products of BF16. */
        BF16("bf16_peak", DotProduct.BF16),
        /** Dot products of bytes. */
        INT8("int8_peak", DotProduct.INT8);

        private final String key;
        private final DotProduct product;

        Limit(String key, DotProduct product) {
            this.key = key;
            this.product = product;
        }

        /** Stable name in JSON. */
        public String key() {
            return key;
        }

        /** Whether it counts bytes; otherwise operations. */
        public boolean countsBytes() {
            return product == null;
        }

        static Limit of(DotProduct product) {
            return switch (product) {
                case F32 -> FP32;
                case BF16 -> BF16;
                case INT8 -> INT8;
            };
        }
    }

    private final int threads;
    private final CpuProbe all;
    /** The same as {@link #all} where there is one thread. */
    private final CpuProbe one;
    private final Set<Limit> limits = EnumSet.allOf(Limit.class);

    private MachineProbe(int threads) {
        this.threads = threads;
        this.all = CpuProbe.open(threads);
        this.one = threads == 1 ? all : CpuProbe.open(1);
        limits.removeIf(limit -> !limit.countsBytes() && !all.has(limit.product));
    }

    /**
     * A probe on teams of its own, with the instruction set that the CPU backend uses.
     *
     * @param threads 0: one per available core
     * @return empty where there are no native kernels
     */
    public static Optional<MachineProbe> open(int threads) {
        return CpuInfo.unavailableReason() != null ? Optional.empty()
                : Optional.of(new MachineProbe(threads > 0 ? threads : Runtime.getRuntime().availableProcessors()));
    }

    public int threads() {
        return threads;
    }

    /** What this machine has. */
    public Set<Limit> limits() {
        return EnumSet.copyOf(limits);
    }

    /** One round of 10 to 50 ms; bytes or operations per second. */
    public double measure(Limit limit) {
        return switch (limit) {
            case READ -> all.read();
            case READ_ONE_THREAD -> one.read();
            case COPY -> all.copy();
            case FP32, BF16, INT8 -> all.products(limit.product);
        };
    }

    @Override
    public void close() {
        all.close();
        one.close();
    }
}

package io.millrace.server.cli;

import io.millrace.engine.MachineProbe.Limit;
import io.millrace.server.bench.Spread;
import io.millrace.server.console.Texts;

/** The machine's limits in words and units for people. */
final class MachineTable {
    private MachineTable() {}

    static String label(Limit limit) {
        return switch (limit) {
            case READ -> "machine reads, GB/s";
            case READ_ONE_THREAD -> "one thread reads, GB/s";
            case COPY -> "machine copies, read and written, GB/s";
            case FP32 -> "peak of float products, GFLOP/s";
            case BF16 -> "peak of BF16 products, GFLOP/s";
            case INT8 -> "peak of byte products, GOP/s";
        };
    }

    /** Median, lowest and highest in units of 1e9 per second. */
    static String[] cells(Spread spread) {
        return new String[] {Texts.rate(spread.median() * 1e-9), Texts.rate(spread.min() * 1e-9), Texts.rate(spread.max() * 1e-9)};
    }
}

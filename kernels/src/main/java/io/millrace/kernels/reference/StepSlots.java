package io.millrace.kernels.reference;

import io.millrace.kernels.Batch;
import io.millrace.kernels.BatchLimits;
import java.lang.foreign.Arena;

/** The two batches, and which of them the program that runs is over. */
final class StepSlots {
    private final Batch[] batches;
    Batch now;
    Batch before;

    StepSlots(BatchLimits limits, Arena arena) {
        batches = new Batch[] {new Batch(limits, arena), new Batch(limits, arena)};
        use(0);
    }

    Batch batch(int slot) {
        return batches[slot];
    }

    void use(int slot) {
        now = batches[slot];
        before = batches[1 - slot];
    }
}

package io.millrace.kernels.cuda;

import io.millrace.bindings.cuda.CudaDriver;
import io.millrace.bindings.cuda.CudaWork.PinnedMemory;
import io.millrace.kernels.Batch;
import io.millrace.kernels.BatchLimits;
import io.millrace.kernels.SamplingRows;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.lang.foreign.ValueLayout;

/**
 * The two batches in pinned host memory, and the one place on the device that both are copied to before a step and its outputs copied from after
 * it, at the same offsets everywhere:
 *
 * <pre>
 *   counts .. contextLen | blockTables | logitRows .. allowedMask | token .. topLogprobs | fault
 *   one copy there         rows in use   one copy there             one copy back
 * </pre>
 * Kernels read fixed device addresses alone. What the run before drew is copied from the other batch as the host
 * has it, so that run must have ended: see "No overlap yet" in ARCHITECTURE.md.
 */
final class CudaBatches {
    private static final ValueLayout.OfInt I32 = ValueLayout.JAVA_INT;
    /** Up to here all rows of the block tables travel in one piece, used or not. */
    private static final long WHOLE_TABLE_BYTES = 128 << 10;
    private static final int FAULT_BYTES = 16;

    private final CudaDriver driver;
    private final long stream;
    private final PinnedMemory[] pinned = new PinnedMemory[2];
    private final Batch[] batches = new Batch[2];
    /** Slices of the pinned memory, made once: what is copied to the device, and what back. */
    private final MemorySegment[] heads = new MemorySegment[2];
    private final MemorySegment[] tables = new MemorySegment[2];
    private final MemorySegment[][] tableRows = new MemorySegment[2][];
    private final MemorySegment[] tails = new MemorySegment[2];
    /** Where outputs arrive, of which the rows of the step go on to the batch. */
    private final PinnedMemory results;
    private final long bytes;
    private final long device;
    private final long previousToken;
    private final long tablesAt;
    private final long tailAt;
    private final long outputs;
    private final long fault;

    CudaBatches(CudaDriver driver, DeviceMemory memory, BatchLimits limits, long stream) {
        this.driver = driver;
        this.stream = stream;
        Slices measured = new Slices(MemorySegment.NULL.reinterpret(Long.MAX_VALUE));
        new Batch(limits, measured);
        measured.allocate(FAULT_BYTES, 64);
        bytes = measured.used;
        device = memory.allocate(bytes);
        previousToken = memory.allocate(4L * limits.maxLogitRows());
        for (int slot = 0; slot < 2; slot++) {
            pinned[slot] = memory.allocatePinned(bytes);
            batches[slot] = new Batch(limits, new Slices(pinned[slot].segment()));
        }
        Batch first = batches[0];
        tablesAt = offset(first.blockTables);
        tailAt = offset(first.logitRows);
        outputs = offset(first.sampling.token);
        fault = bytes - FAULT_BYTES;
        long rowBytes = 4L * limits.maxBlocksPerSequence();
        for (int slot = 0; slot < 2; slot++) {
            MemorySegment all = pinned[slot].segment();
            heads[slot] = all.asSlice(0, tablesAt);
            tables[slot] = batches[slot].blockTables;
            tableRows[slot] = new MemorySegment[limits.maxSequences()];
            for (int s = 0; s < limits.maxSequences(); s++) {
                tableRows[slot][s] = tables[slot].asSlice(s * rowBytes, rowBytes);
            }
            tails[slot] = all.asSlice(tailAt, outputs - tailAt);
        }
        results = memory.allocatePinned(bytes - outputs);
    }

    /** Slices of a segment, one after the other. */
    private static final class Slices implements SegmentAllocator {
        private final MemorySegment segment;
        private long used;

        Slices(MemorySegment segment) {
            this.segment = segment;
        }

        @Override
        public MemorySegment allocate(long byteSize, long byteAlignment) {
            long at = (used + byteAlignment - 1) / byteAlignment * byteAlignment;
            used = at + byteSize;
            return segment.asSlice(at, byteSize);
        }
    }

    Batch batch(int slot) {
        return batches[slot];
    }

    /** On the device. */
    long byteSize() {
        return bytes + 4L * batches[0].maxLogitRows();
    }

    /** Where an array of either batch lies on the device. */
    long address(MemorySegment array) {
        return device + offset(array);
    }

    long previousToken() {
        return previousToken;
    }

    long fault() {
        return device + fault;
    }

    private long offset(MemorySegment array) {
        long first = array.address() - pinned[0].segment().address();
        return first >= 0 && first < bytes ? first : array.address() - pinned[1].segment().address();
    }

    /** Enqueues the copies that a step over {@code slot} needs. */
    void stage(int slot) {
        Batch batch = batches[slot];
        driver.copyToDevice(previousToken, batches[1 - slot].sampling.token, 4L * batch.maxLogitRows(), stream);
        driver.copyToDevice(device, heads[slot], tablesAt, stream);
        driver.copyToDevice(device + tailAt, tails[slot], outputs - tailAt, stream);
        int sequences = batch.numSequences();
        long rowBytes = 4L * batch.maxBlocksPerSequence();
        if (sequences == 0) {
            return;
        }
        if (sequences * rowBytes <= WHOLE_TABLE_BYTES) {
            driver.copyToDevice(device + tablesAt, tables[slot], sequences * rowBytes, stream);
            return;
        }
        for (int s = 0; s < sequences; s++) {
            int blocks = Math.min(Math.ceilDiv(batch.contextLen.getAtIndex(I32, s), CudaKvCache.PAGE), batch.maxBlocksPerSequence());
            driver.copyToDevice(device + tablesAt + s * rowBytes, tableRows[slot][s], 4L * blocks, stream);
        }
    }

    /** Enqueues the copy of a step's outputs. */
    void fetch() {
        driver.copyToHost(results.segment(), device + outputs, bytes - outputs, stream);
    }

    /** Hands outputs that have arrived to the batch of {@code slot}. */
    void deliver(int slot) {
        Batch batch = batches[slot];
        SamplingRows rows = batch.sampling;
        int count = batch.numLogitRows();
        deliver(rows.token, count);
        deliver(rows.logprob, count);
        deliver(rows.rank, count);
        int top = 0;
        for (int r = 0; r < count; r++) {
            top = Math.max(top, rows.numTop.getAtIndex(I32, r));
        }
        if (top > 0) {
            deliver(rows.topIds, (long) count * rows.maxTop());
            deliver(rows.topLogprobs, (long) count * rows.maxTop());
        }
    }

    private void deliver(MemorySegment array, long count) {
        MemorySegment.copy(results.segment(), offset(array) - outputs, array, 0, 4 * count);
    }

    /** The fault of the step whose outputs have arrived: code, row, value, limit; code 0 for none. */
    int faultField(int field) {
        return results.segment().get(I32, fault - outputs + 4L * field);
    }

    void clearFault() {
        driver.fill(device + fault, (byte) 0, FAULT_BYTES, stream);
    }

    SamplingRows rows(int slot) {
        return batches[slot].sampling;
    }
}

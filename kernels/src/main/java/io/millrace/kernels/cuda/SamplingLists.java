package io.millrace.kernels.cuda;

import io.millrace.bindings.cuda.CudaDriver;
import io.millrace.bindings.cuda.CudaWork.PinnedMemory;
import io.millrace.kernels.Batch;
import io.millrace.kernels.DeviceException;
import io.millrace.kernels.SamplingRows;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * What {@link SamplingRows} names by host addresses (histories, biases, suppressed ids, masks), copied to the device for the step, with the
 * addresses that it gets there. A step without any copies nothing.
 */
final class SamplingLists {
    private static final ValueLayout.OfInt I32 = ValueLayout.JAVA_INT;
    private static final ValueLayout.OfLong I64 = ValueLayout.JAVA_LONG;
    /** Entries of a bias or of suppressed ids, of every row; what a request may ask for is less. */
    private static final int LIST_ENTRIES = 2048;

    /** The arrays of addresses, each {@code [logit rows]}. */
    enum Kind { HISTORY, BIAS_IDS, BIAS_VALUES, SUPPRESS_IDS, MASK }

    private final CudaDriver driver;
    private final long stream;
    private final int rows;
    private final int maskBytes;
    private final PinnedMemory pinned;
    private final long device;
    private final long capacity;
    private final long listsAt;
    private boolean inUse;
    private long used;

    SamplingLists(CudaDriver driver, DeviceMemory memory, Batch batch, int vocab, long stream) {
        this.driver = driver;
        this.stream = stream;
        rows = batch.maxLogitRows();
        maskBytes = Math.ceilDiv(vocab, 32) * 4;
        listsAt = align((long) Kind.values().length * 8 * rows);
        long histories = 4L * batch.maxSequences() * (batch.maxBlocksPerSequence() * (long) CudaKvCache.PAGE + 64);
        long perRow = align(maskBytes) + 3 * align(4L * LIST_ENTRIES) + 64;
        capacity = listsAt + histories + rows * perRow;
        pinned = memory.allocatePinned(capacity);
        device = memory.allocate(capacity);
    }

    private static long align(long bytes) {
        return (bytes + 15) / 16 * 16;
    }

    long byteSize() {
        return capacity;
    }

    /** Where the device finds the addresses of a kind. */
    long address(Kind kind) {
        return device + 8L * rows * kind.ordinal();
    }

    /**
     * Enqueues the copies for a step over {@code slots.batch(slot)}.
     *
     * @param before what the run before drew; the host's histories are made good by it, for the steps to come
     */
    void stage(Batch batch, SamplingRows before) {
        SamplingRows own = batch.sampling;
        int numRows = batch.numLogitRows();
        boolean any = false;
        used = listsAt;
        for (int r = 0; r < numRows; r++) {
            long history = own.history.getAtIndex(I64, r);
            int length = own.historyLen.getAtIndex(I32, r);
            int source = own.historySource.getAtIndex(I32, r);
            if (history != 0 && source >= 0 && length > 0) {
                DeviceMemory.hostMemory().set(I32, history + 4L * (length - 1), before.token(source));
            }
            any |= put(Kind.HISTORY, r, history, 4L * length);
            int biases = own.biasCount.getAtIndex(I32, r);
            any |= put(Kind.BIAS_IDS, r, own.biasIds.getAtIndex(I64, r), 4L * biases);
            any |= put(Kind.BIAS_VALUES, r, own.biasValues.getAtIndex(I64, r), 4L * biases);
            any |= put(Kind.SUPPRESS_IDS, r, own.suppressIds.getAtIndex(I64, r), 4L * own.suppressCount.getAtIndex(I32, r));
            any |= put(Kind.MASK, r, own.allowedMask.getAtIndex(I64, r), maskBytes);
        }
        if (any || inUse) {
            driver.copyToDevice(device, pinned.segment(), used, stream);
        }
        inUse = any;
    }

    private boolean put(Kind kind, int row, long source, long bytes) {
        boolean present = source != 0 && bytes > 0;
        if (present) {
            if (used + bytes > capacity) {
                throw new DeviceException("CUDA-010", "histories, biases and masks of a step take more than the " + capacity
                        + " bytes that are set aside for them; lower --max-num-seqs or --max-model-len", false, null);
            }
            MemorySegment.copy(DeviceMemory.hostMemory(), source, pinned.segment(), used, bytes);
        }
        pinned.segment().setAtIndex(I64, (long) rows * kind.ordinal() + row, present ? device + used : 0);
        used += present ? align(bytes) : 0;
        return present;
    }
}

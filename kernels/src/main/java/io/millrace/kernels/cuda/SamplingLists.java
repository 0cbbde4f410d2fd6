package io.millrace.kernels.cuda;

import io.millrace.bindings.cuda.CudaDriver;
import io.millrace.bindings.cuda.CudaException;
import io.millrace.bindings.cuda.CudaWork.PinnedMemory;
import io.millrace.kernels.Batch;
import io.millrace.kernels.SamplingRows;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * What {@link SamplingRows} names by host addresses (histories, biases, suppressed ids, masks), copied to the device for the step, and the
 * addresses that it gets there, which kernels find in a fixed place. A step without any copies nothing.
 *
 * <p>There is room for the histories of full contexts and lists of usual length. A step whose requests bring more (a bias may name every id of the
 * vocabulary) gets more room: the one thing that is allocated after the start.
 */
final class SamplingLists {
    private static final ValueLayout.OfInt I32 = ValueLayout.JAVA_INT;
    private static final ValueLayout.OfLong I64 = ValueLayout.JAVA_LONG;
    /** Entries of biases and of suppressed ids together, per row, that need no allocation. */
    private static final int USUAL_ENTRIES = 1024;
    private static final int NUM_KINDS = Kind.values().length;

    /** The arrays of addresses, each {@code [logit rows]}. */
    enum Kind { HISTORY, BIAS_IDS, BIAS_VALUES, SUPPRESS_IDS, MASK }

    private final CudaDriver driver;
    private final DeviceMemory memory;
    private final long stream;
    private final int rows;
    private final int maskBytes;
    private final PinnedMemory addresses;
    private final long addressesAt;
    private PinnedMemory lists;
    private long listsAt;
    private long capacity;
    private boolean inUse;
    private long used;

    SamplingLists(CudaDriver driver, DeviceMemory memory, Batch batch, int vocab, long stream) {
        this.driver = driver;
        this.memory = memory;
        this.stream = stream;
        rows = batch.maxLogitRows();
        maskBytes = Math.ceilDiv(vocab, 32) * 4;
        addresses = memory.allocatePinned(8L * NUM_KINDS * rows);
        addressesAt = memory.allocate(8L * NUM_KINDS * rows);
        long histories = 4L * batch.maxSequences() * batch.maxBlocksPerSequence() * CudaKvCache.PAGE;
        make(histories + rows * (maskBytes + 4L * USUAL_ENTRIES));
    }

    /** What there was before goes once the new is there: without memory for it all stays as it was. */
    private void make(long bytes) {
        PinnedMemory pinned = memory.allocatePinned(bytes);
        long address;
        try {
            address = memory.allocate(bytes);
        } catch (CudaException e) {
            memory.freePinned(pinned);
            throw e;
        }
        if (lists != null) {
            memory.freePinned(lists);
            memory.free(listsAt);
        }
        lists = pinned;
        listsAt = address;
        capacity = bytes;
    }

    private static long align(long bytes) {
        return (bytes + 15) / 16 * 16;
    }

    /** On the device. */
    long byteSize() {
        return capacity + 8L * NUM_KINDS * rows;
    }

    /** Where the device finds the addresses of a kind. */
    long address(Kind kind) {
        return addressesAt + 8L * rows * kind.ordinal();
    }

    /**
     * Enqueues the copies for a step over {@code batch}. No step may be under way.
     *
     * @param before what the run before drew; the host's histories are made good by it, for the steps to come
     */
    void stage(Batch batch, SamplingRows before) {
        int numRows = batch.numLogitRows();
        long needed = 0;
        for (int r = 0; r < numRows; r++) {
            for (int k = 0; k < NUM_KINDS; k++) {
                needed += align(bytes(batch.sampling, k, r));
            }
        }
        if (needed == 0 && !inUse) {
            return;
        }
        if (needed > capacity) {
            driver.synchronize(stream);
            make(2 * needed);
        }
        used = 0;
        for (int r = 0; r < numRows; r++) {
            completeHistory(batch.sampling, r, before);
            for (int k = 0; k < NUM_KINDS; k++) {
                put(k, r, source(batch.sampling, k, r), bytes(batch.sampling, k, r));
            }
        }
        if (used > 0) {
            driver.copyToDevice(listsAt, lists.segment(), used, stream);
        }
        driver.copyToDevice(addressesAt, addresses.segment(), 8L * NUM_KINDS * rows, stream);
        inUse = needed > 0;
    }

    private static void completeHistory(SamplingRows rows, int r, SamplingRows before) {
        long history = rows.history.getAtIndex(I64, r);
        int source = rows.historySource.getAtIndex(I32, r);
        int length = rows.historyLen.getAtIndex(I32, r);
        if (history != 0 && source >= 0 && length > 0) {
            DeviceMemory.hostMemory().set(I32, history + 4L * (length - 1), before.token(source));
        }
    }

    private static long source(SamplingRows rows, int kind, int r) {
        return switch (kind) {
            case 0 -> rows.history.getAtIndex(I64, r);
            case 1 -> rows.biasIds.getAtIndex(I64, r);
            case 2 -> rows.biasValues.getAtIndex(I64, r);
            case 3 -> rows.suppressIds.getAtIndex(I64, r);
            default -> rows.allowedMask.getAtIndex(I64, r);
        };
    }

    private long bytes(SamplingRows rows, int kind, int r) {
        if (source(rows, kind, r) == 0) {
            return 0;
        }
        return switch (kind) {
            case 0 -> 4L * rows.historyLen.getAtIndex(I32, r);
            case 1, 2 -> 4L * rows.biasCount.getAtIndex(I32, r);
            case 3 -> 4L * rows.suppressCount.getAtIndex(I32, r);
            default -> maskBytes;
        };
    }

    private void put(int kind, int row, long source, long bytes) {
        if (bytes > 0) {
            MemorySegment.copy(DeviceMemory.hostMemory(), source, lists.segment(), used, bytes);
        }
        addresses.segment().setAtIndex(I64, (long) rows * kind + row, bytes > 0 ? listsAt + used : 0);
        used += align(bytes);
    }
}

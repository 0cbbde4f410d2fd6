package io.millrace.kernels.cuda;

import io.millrace.bindings.cuda.CudaDriver;
import io.millrace.bindings.cuda.CudaWork.PinnedMemory;
import java.lang.foreign.MemorySegment;
import java.util.stream.LongStream;

/**
 * Brings rows to the device through two pinned buffers: while one is copied, the other is filled, on all cores. The buffers live from the first
 * upload to {@link #release}.
 */
final class Uploader {
    private static final long BUFFER_BYTES = 16L << 20;
    /** Below that a task costs more than it saves. */
    private static final long BYTES_PER_TASK = 256 << 10;

    private final CudaDriver driver;
    private final DeviceMemory memory;
    private final long stream;
    private final PinnedMemory[] buffers = new PinnedMemory[2];
    private final long[] copied = new long[2];
    private long bufferBytes;
    private int next;

    /** Writes a row, all of it. Called from several threads. */
    @FunctionalInterface
    interface RowWriter {
        void write(long row, MemorySegment to);
    }

    Uploader(CudaDriver driver, DeviceMemory memory, long stream) {
        this.driver = driver;
        this.memory = memory;
        this.stream = stream;
    }

    /** Rows {@code [0, rows)} of {@code rowBytes} each to {@code target}; what the writer reads is no longer needed when this returns. */
    void upload(long target, long rows, long rowBytes, RowWriter writer) {
        reserve(Math.max(rowBytes, Math.min(BUFFER_BYTES, rows * rowBytes)));
        long atOnce = bufferBytes / rowBytes;
        long perTask = Math.max(1, BYTES_PER_TASK / rowBytes);
        for (long first = 0; first < rows; first += atOnce) {
            long count = Math.min(atOnce, rows - first);
            int use = next;
            next = 1 - next;
            driver.synchronizeEvent(copied[use]);
            MemorySegment buffer = buffers[use].segment();
            long begin = first;
            LongStream tasks = LongStream.range(0, Math.ceilDiv(count, perTask));
            (count > 2 * perTask ? tasks.parallel() : tasks).forEach(task -> {
                for (long row = task * perTask; row < Math.min(count, (task + 1) * perTask); row++) {
                    writer.write(begin + row, buffer.asSlice(row * rowBytes, rowBytes));
                }
            });
            driver.copyToDevice(target + first * rowBytes, buffer, count * rowBytes, stream);
            driver.record(copied[use], stream);
        }
    }

    private void reserve(long bytes) {
        if (bytes <= bufferBytes) {
            return;
        }
        release();
        for (int i = 0; i < 2; i++) {
            buffers[i] = memory.allocatePinned(bytes);
            copied[i] = driver.createEvent(false);
            driver.record(copied[i], stream);
        }
        bufferBytes = bytes;
    }

    /** Frees the buffers; waits for what is under way. */
    void release() {
        if (bufferBytes == 0) {
            return;
        }
        driver.synchronize(stream);
        for (int i = 0; i < 2; i++) {
            memory.freePinned(buffers[i]);
            driver.destroyEvent(copied[i]);
        }
        bufferBytes = 0;
    }
}

package io.millrace.telemetry;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * CPU time and run-queue wait of the platform thread that made it. The wait is the second number of Linux'
 * {@code /proc/<pid>/task/<tid>/schedstat}: nanoseconds in which the thread was ready and another had its core. Reads allocate
 * nothing. Elsewhere than on Linux, or where the kernel keeps no statistics, the wait is 0 and {@link #hasRunQueueWait} says so.
 */
public final class ThreadTimes implements AutoCloseable {
    private static final com.sun.management.ThreadMXBean THREADS = (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();

    private final RandomAccessFile schedstat;
    private final byte[] text = new byte[96];

    private ThreadTimes(RandomAccessFile schedstat) {
        this.schedstat = schedstat;
    }

    public static ThreadTimes ofCurrentThread() {
        Path path = Path.of("/proc/thread-self/schedstat");
        try {
            // The link is resolved now: later it would lead to whichever thread asks.
            return new ThreadTimes(Files.isReadable(path) ? new RandomAccessFile(path.toRealPath().toFile(), "r") : null);
        } catch (IOException e) {
            return new ThreadTimes(null);
        }
    }

    public boolean hasRunQueueWait() {
        return schedstat != null;
    }

    /** CPU time of the calling thread in nanoseconds, user and system. */
    public long cpuNanos() {
        return THREADS.getCurrentThreadCpuTime();
    }

    /** CPU time of another platform thread of this process; 0 if there is none of that id. Allocates, so not for every step. */
    public static long cpuNanosOf(long threadId) {
        return Math.max(0, THREADS.getThreadCpuTime(threadId));
    }

    /** Run-queue wait since the thread began, in nanoseconds. */
    public long runQueueNanos() {
        if (schedstat == null) {
            return 0;
        }
        try {
            schedstat.seek(0);
            int length = schedstat.read(text);
            int i = 0;
            while (i < length && text[i] != ' ') {
                i++;
            }
            long nanos = 0;
            for (i++; i < length && text[i] >= '0' && text[i] <= '9'; i++) {
                nanos = 10 * nanos + text[i] - '0';
            }
            return nanos;
        } catch (IOException e) {
            return 0; // The thread is gone.
        }
    }

    @Override
    public void close() throws IOException {
        if (schedstat != null) {
            schedstat.close();
        }
    }
}

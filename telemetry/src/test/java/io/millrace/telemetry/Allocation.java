package io.millrace.telemetry;

import java.lang.management.ManagementFactory;

/** Heap bytes that a piece of code allocates on this thread once it is warm. */
final class Allocation {
    private static final com.sun.management.ThreadMXBean THREADS = (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();

    private Allocation() {}

    static long bytesOf(int times, Runnable action) {
        for (int i = 0; i < 20_000; i++) {
            action.run();
        }
        long before = THREADS.getCurrentThreadAllocatedBytes();
        for (int i = 0; i < times; i++) {
            action.run();
        }
        return THREADS.getCurrentThreadAllocatedBytes() - before;
    }
}

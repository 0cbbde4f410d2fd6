package io.millrace.telemetry;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The process as such, under the names that Prometheus clients of all languages use ({@code process_*}) and {@code millrace_heap_*}.
 * Read when scraped.
 */
public final class ProcessMetrics {
    private static final Path STATUS = Path.of("/proc/self/status");

    private ProcessMetrics() {}

    public static void register(MetricRegistry registry) {
        var os = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        var runtime = ManagementFactory.getRuntimeMXBean();
        var memory = ManagementFactory.getMemoryMXBean();
        registry.counter("process_cpu_seconds", "CPU time of the process, user and system.", () -> Math.max(0, os.getProcessCpuTime()) * 1e-9);
        registry.gauge("process_start_time_seconds", "Start of the process since the epoch.", () -> runtime.getStartTime() / 1e3);
        registry.gauge("millrace_heap_used_bytes", "Java heap in use.", () -> memory.getHeapMemoryUsage().getUsed());
        registry.gauge("millrace_gc_seconds", "Time spent in garbage collection.", ProcessMetrics::gcSeconds);
        if (Files.isReadable(STATUS)) {
            registry.gauge("process_resident_memory_bytes", "Resident memory, mapped weights included.", ProcessMetrics::residentBytes);
        }
    }

    private static double gcSeconds() {
        return ManagementFactory.getGarbageCollectorMXBeans().stream().mapToLong(gc -> Math.max(0, gc.getCollectionTime())).sum() / 1e3;
    }

    private static double residentBytes() {
        try {
            for (String line : Files.readAllLines(STATUS)) {
                if (line.startsWith("VmRSS:")) {
                    return Double.parseDouble(line.replaceAll("[^0-9]", "")) * 1024;
                }
            }
        } catch (IOException e) {
            return Double.NaN;
        }
        return Double.NaN;
    }
}

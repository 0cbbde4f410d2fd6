package io.millrace.engine;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * Memory this process can still take: what the kernel calls available, cut by every cgroup limit (v1 or v2) that applies. Reclaimable
 * file cache counts as free, also inside a cgroup: a mapped checkpoint must not look like memory that is gone.
 *
 * @param availableBytes bytes that can be taken without swapping or being killed
 * @param source         what set the figure, for people
 */
record MachineMemory(long availableBytes, String source) {
    /** A v1 group without a limit reports a huge number instead. */
    private static final long NO_LIMIT = 1L << 60;

    static MachineMemory read() {
        return read(Path.of("/proc"), Path.of("/sys/fs/cgroup"));
    }

    /** @param proc where procfs is mounted; @param cgroup where the cgroup tree (or its v1 {@code memory} controller's parent) is */
    static MachineMemory read(Path proc, Path cgroup) {
        long available = meminfo(proc);
        MachineMemory best = available > 0 ? new MachineMemory(available, "MemAvailable of the machine")
                // No procfs (macOS, Windows): the JVM's view of the physical memory.
                : new MachineMemory(physicalMemory(), "physical memory");
        for (String line : lines(proc.resolve("self/cgroup"))) {
            String[] fields = line.split(":", 3);
            if (fields.length == 3 && fields[1].isEmpty()) {
                best = best.cutBy(cgroup, fields[2], "memory.max", "memory.current", "inactive_file", "cgroup v2");
            } else if (fields.length == 3 && List.of(fields[1].split(",")).contains("memory")) {
                best = best.cutBy(cgroup.resolve("memory"), fields[2], "memory.limit_in_bytes", "memory.usage_in_bytes",
                        "total_inactive_file", "cgroup v1");
            }
        }
        return best;
    }

    /** Walks from the process's own group up to the root: any ancestor's limit holds. Inside a container only the root may be visible. */
    private MachineMemory cutBy(Path root, String group, String limitFile, String usageFile, String reclaimable, String version) {
        MachineMemory best = this;
        Path relative = Path.of(group.startsWith("/") ? group.substring(1) : group).normalize();
        Path directory = relative.startsWith("..") ? root : root.resolve(relative);
        while (directory != null && directory.startsWith(root)) {
            long limit = number(directory.resolve(limitFile));
            long usage = number(directory.resolve(usageFile));
            if (limit >= 0 && limit < NO_LIMIT) {
                long left = Math.max(0, limit - Math.max(0, usage - statistic(directory.resolve("memory.stat"), reclaimable)));
                if (left < best.availableBytes) {
                    best = new MachineMemory(left, version + " limit of " + MemoryPlan.bytes(limit));
                }
            }
            directory = directory.getParent();
        }
        return best;
    }

    private static long meminfo(Path proc) {
        for (String line : lines(proc.resolve("meminfo"))) {
            if (line.startsWith("MemAvailable:")) {
                return Long.parseLong(line.replaceAll("\\D+", "")) * 1024;
            }
        }
        return 0;
    }

    private static long physicalMemory() {
        return java.lang.management.ManagementFactory.getOperatingSystemMXBean() instanceof com.sun.management.OperatingSystemMXBean os
                ? os.getFreeMemorySize()
                : Runtime.getRuntime().maxMemory();
    }

    private static long statistic(Path file, String key) {
        for (String line : lines(file)) {
            if (line.startsWith(key + " ")) {
                return Long.parseLong(line.substring(key.length() + 1).trim());
            }
        }
        return 0;
    }

    /** The number a one-line file holds; -1 for {@code max} or no such file. */
    private static long number(Path file) {
        List<String> lines = lines(file);
        return lines.isEmpty() || !lines.getFirst().trim().matches("\\d{1,18}") ? -1 : Long.parseLong(lines.getFirst().trim());
    }

    private static List<String> lines(Path file) {
        try {
            return Files.readAllLines(file);
        } catch (IOException | java.io.UncheckedIOException e) {
            return List.of();
        }
    }
}

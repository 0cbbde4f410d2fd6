package io.millrace.kernels.cpu;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Lists of logical processors as Linux writes them, {@code 0-3,8}, and which of them are one physical core. */
public final class Processors {
    /** As many as the native side's masks hold. */
    private static final int MAX = 8192;

    private Processors() {}

    /**
     * What {@code --threads-bind} means: {@code none} is nowhere (an empty array), {@code auto} the first logical processor of each physical
     * core that this process may use, then the second ones; anything else is a list.
     *
     * @throws IllegalArgumentException {@code NATIVE-008} for what is no list, or {@code auto} where the system tells nothing
     */
    public static int[] of(String text) {
        return switch (text) {
            case "none" -> new int[0];
            case "auto" -> {
                try {
                    yield coresFirst(allowed(), cpu -> Files.readString(
                            Path.of("/sys/devices/system/cpu/cpu" + cpu + "/topology/thread_siblings_list")).strip());
                } catch (IOException e) {
                    throw new IllegalArgumentException("NATIVE-008: --threads-bind auto: this system does not tell which processors there are ("
                            + e.getMessage() + "); give a list such as 0-3, or none", e);
                }
            }
            default -> parse(text);
        };
    }

    /** {@code 0-3,8} as 0, 1, 2, 3, 8; in the order given. */
    static int[] parse(String text) {
        List<Integer> cpus = new ArrayList<>();
        for (String range : text.split(",", -1)) {
            String[] ends = range.strip().split("-", -1);
            try {
                int first = Integer.parseInt(ends[0]);
                int last = Integer.parseInt(ends[ends.length - 1]);
                if (ends.length > 2 || first < 0 || last < first || last >= MAX) {
                    throw new NumberFormatException();
                }
                for (int cpu = first; cpu <= last; cpu++) {
                    cpus.add(cpu);
                }
            } catch (NumberFormatException e) {
                throw new IllegalArgumentException("NATIVE-008: '" + range + "' in the processor list '" + text + "' is no number or range below "
                        + MAX + "; write for example 0-3,8", e);
            }
        }
        return cpus.stream().mapToInt(Integer::intValue).toArray();
    }

    /** Tells the siblings of a logical processor, itself among them, as a list. */
    interface Siblings {
        String of(int cpu) throws IOException;
    }

    /** Round by round one logical processor of each core, so that the first threads do not share one. */
    static int[] coresFirst(int[] cpus, Siblings siblings) throws IOException {
        Map<Integer, List<Integer>> cores = new LinkedHashMap<>();
        for (int cpu : cpus) {
            int core = Arrays.stream(parse(siblings.of(cpu))).min().orElse(cpu);
            cores.computeIfAbsent(core, c -> new ArrayList<>()).add(cpu);
        }
        List<Integer> order = new ArrayList<>();
        for (int round = 0; order.size() < cpus.length; round++) {
            for (List<Integer> core : cores.values()) {
                if (round < core.size()) {
                    order.add(core.get(round));
                }
            }
        }
        return order.stream().mapToInt(Integer::intValue).toArray();
    }

    private static int[] allowed() throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("Cpus_allowed_list:")) {
                return parse(line.substring(line.indexOf(':') + 1).strip());
            }
        }
        throw new IOException("no Cpus_allowed_list in /proc/self/status");
    }
}

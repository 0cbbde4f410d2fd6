package io.millrace.kernels.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.millrace.bindings.CpuKernels;
import io.millrace.kernels.Arithmetic;
import io.millrace.kernels.Backend;
import io.millrace.kernels.Backends;
import io.millrace.kernels.BatchLimits;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Property: processor lists are read as Linux writes them, and what cannot be bound is refused, with the flag's name. */
class ProcessorsTest {
    @Test
    void listsAndRangesKeepTheirOrder() {
        assertThat(Processors.of("none")).isEmpty();
        assertThat(Processors.of("8,0-3, 5")).containsExactly(8, 0, 1, 2, 3, 5);
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "a", "1-", "3-1", "-1", "1,,2", "0-1-2", "0-8192", "99999999999"})
    void whatIsNoListIsRefused(String text) {
        assertThatThrownBy(() -> Processors.of(text)).isInstanceOf(IllegalArgumentException.class).hasMessageStartingWith("NATIVE-008:")
                .hasMessageContaining("0-3,8");
    }

    @Test
    void coresComeBeforeTheirSecondThreads() throws Exception {
        Map<Integer, String> adjacent = Map.of(0, "0-1", 1, "0-1", 2, "2-3", 3, "2-3");
        assertThat(Processors.coresFirst(new int[] {0, 1, 2, 3}, adjacent::get)).containsExactly(0, 2, 1, 3);
        Map<Integer, String> apart = Map.of(1, "1,5", 4, "0,4", 5, "1,5");
        assertThat(Processors.coresFirst(new int[] {1, 4, 5}, apart::get)).containsExactly(1, 4, 5);
    }

    @Test
    @EnabledOnOs(OS.LINUX)
    void boundThreadsAreWhereTheyWereSentAndTheCallerIsFreeAgain() throws Exception {
        CpuKernels.library().require();
        int cpu = Processors.of("auto")[0];
        String before = allowed(Path.of("/proc/thread-self"));
        try (Backend backend = Backends.create("cpu", new BatchLimits(1, 1, 1, 1, 1), 2, Arithmetic.EXACT, Integer.toString(cpu))) {
            assertThat(backend.description()).contains("bound to processors [" + cpu + "]");
            backend.run(backend.record(ops -> {}));
            assertThat(allowed(Path.of("/proc/thread-self"))).isEqualTo(before);
            try (var tasks = Files.list(Path.of("/proc/self/task"))) {
                assertThat(tasks.filter(ProcessorsTest::isWorker).map(ProcessorsTest::allowed)).isNotEmpty()
                        .contains(Integer.toString(cpu));
            }
        }
        assertThatThrownBy(() -> Backends.create("cpu", new BatchLimits(1, 1, 1, 1, 1), 2, Arithmetic.EXACT, "8191"))
                .hasMessageStartingWith("NATIVE-008:").hasMessageContaining("8191");
    }

    private static boolean isWorker(Path task) {
        try {
            return Files.readString(task.resolve("comm")).startsWith("millrace-");
        } catch (java.io.IOException e) {
            return false; // It has ended meanwhile.
        }
    }

    private static String allowed(Path task) {
        try {
            return Files.readAllLines(task.resolve("status")).stream().filter(line -> line.startsWith("Cpus_allowed_list:")).findFirst()
                    .orElseThrow().replaceFirst(".*:\\s*", "");
        } catch (java.io.IOException e) {
            return "ended";
        }
    }
}

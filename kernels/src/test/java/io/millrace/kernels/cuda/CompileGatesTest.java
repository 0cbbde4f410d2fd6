package io.millrace.kernels.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import io.millrace.kernels.ToolRun;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** What the CUDA compiler said of the kernels, against the budgets in {@code src/main/cuda/gates.tsv}. Skipped where the build had no nvcc. */
class CompileGatesTest {
    private static final Path SOURCES = ToolRun.MODULE.resolve("src/main/cuda");
    private static final Path REPORTS = ToolRun.MODULE.resolve("target/cuda-build");

    /** Property: no kernel spills, uses a stack, outgrows its registers or its shared memory, or lacks a line in the table; on no architecture. */
    @TestFactory
    Stream<DynamicTest> budgets() {
        if (!Files.isDirectory(REPORTS)) {
            return Stream.of(dynamicTest("budgets of CUDA kernels", () -> assumeTrue(false, "the build found no nvcc")));
        }
        ToolRun gates = ToolRun.of(SOURCES, "sh", "gates.sh", REPORTS.toString());
        assertThat(gates.lines()).hasSizeGreaterThan(3);
        return gates.lines().stream().map(line -> dynamicTest(line.split(" ", 2)[1].split(":")[0], () -> assertThat(line).startsWith("ok ")));
    }

    /** Property: the gates can fail: a smaller budget, a spill and a kernel without a line are each refused. */
    @Test
    void gatesRefuseWhatGrew() throws IOException {
        Path folder = Files.createTempDirectory("gates");
        Path report = folder.resolve("k.ptxas");
        Path script = folder.resolve("gates.sh");
        Path table = folder.resolve("gates.tsv");
        try {
            Files.copy(SOURCES.resolve("gates.sh"), script);
            Files.writeString(table, "k\t128\t1024\t4\t8\t64\t64\t64\n");
            assertThat(gate(folder, report, "k", 0, 0, 60).status()).isZero();
            assertThat(gate(folder, report, "k", 0, 0, 65).text()).contains("FAILED k sm_90").contains("budget of registers is 64");
            assertThat(gate(folder, report, "k", 0, 8, 60).text()).contains("FAILED k sm_90").contains("8 bytes spilled");
            assertThat(gate(folder, report, "k", 16, 0, 60).text()).contains("16 bytes of stack");
            assertThat(gate(folder, report, "other", 0, 0, 60).text()).contains("no line in gates.tsv").contains("FAILED k sm_80: not in what");
            Files.writeString(table, "k\t128\t50000\t4\t4\t64\t64\t64\n");
            ToolRun crowded = gate(folder, report, "k", 0, 0, 60);
            assertThat(crowded.text()).contains("FAILED k sm_80").contains("ok k sm_90").contains("shared memory is too much");
            assertThat(crowded.status()).isNotZero();
        } finally {
            for (Path file : List.of(report, script, table, folder)) {
                Files.deleteIfExists(file);
            }
        }
    }

    private static ToolRun gate(Path folder, Path report, String kernel, int stack, int spilled, int registers) throws IOException {
        StringBuilder text = new StringBuilder();
        for (String arch : List.of("sm_80", "sm_90", "sm_100")) {
            text.append("ptxas info    : Compiling entry function '%s' for '%s'%n".formatted(kernel, arch))
                    .append("    %d bytes stack frame, %d bytes spill stores, 0 bytes spill loads%n".formatted(stack, spilled))
                    .append("ptxas info    : Used %d registers, used 1 barriers%n".formatted(registers));
        }
        Files.writeString(report, text);
        return ToolRun.of(folder, "sh", "gates.sh", folder.toString());
    }

    /** Property: threads and shared memory in the table are those that the sources launch with. */
    @Test
    void tableHasTheSourcesLaunches() throws IOException {
        Path program = ToolRun.MODULE.resolve("target/cuda-emulation/cuda-tests");
        assumeTrue(ToolRun.onPath("c++") && ToolRun.onPath("make"), "no c++ or no make on the PATH");
        ToolRun built = ToolRun.of(ToolRun.MODULE.resolve("src/test/cuda"), "make", "--silent", "-j2", "BUILD=../../../target/cuda-emulation");
        assertThat(built.status()).as(built.text()).isZero();
        Matcher launch = Pattern.compile("\"(mr_\\w+)\": \\{\"threads\": (\\d+), \"sharedBytes\": (\\d+)}").matcher(ToolRun.of(program.getParent(),
                program.toString(), "--abi").text());
        List<String> launched = new ArrayList<>();
        while (launch.find()) {
            launched.add(launch.group(1) + "\t" + launch.group(2) + "\t" + launch.group(3));
        }
        List<String> table = new ArrayList<>();
        for (String line : Files.readAllLines(SOURCES.resolve("gates.tsv"), StandardCharsets.UTF_8)) {
            if (!line.startsWith("#")) {
                String[] columns = line.split("\t");
                table.add(columns[0] + "\t" + columns[1] + "\t" + columns[2]);
            }
        }
        assertThat(launched).isNotEmpty().containsExactlyInAnyOrderElementsOf(table);
    }
}

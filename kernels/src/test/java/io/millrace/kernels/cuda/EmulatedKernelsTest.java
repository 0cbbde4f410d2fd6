package io.millrace.kernels.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import io.millrace.kernels.ToolRun;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * The CUDA kernels' sources, compiled for the host and run on the emulator in {@code src/test/cuda}: results against double precision in three
 * fiber orders, with races, short waits, divergence and stray accesses found. Needs a C++ compiler and make; no CUDA toolkit, no GPU.
 */
class EmulatedKernelsTest {
    private static final Pattern CASE = Pattern.compile("(ok|FAILED) \\d+ ([^:]+)(?:: (.*))?");

    /** Property: every case of the emulator's test program passes, and it has as many as it should. */
    @TestFactory
    Stream<DynamicTest> cases() {
        if (!ToolRun.onPath("c++") || !ToolRun.onPath("make")) {
            return Stream.of(dynamicTest("emulated CUDA kernels", () -> assumeTrue(false, "no c++ or no make on the PATH")));
        }
        // Relative: make cannot take blanks in a path.
        String build = "../../../target/cuda-emulation";
        ToolRun built = ToolRun.of(ToolRun.MODULE.resolve("src/test/cuda"), "make", "--silent", "-j2", "BUILD=" + build);
        assertThat(built.status()).as(built.text()).isZero();
        ToolRun run = ToolRun.of(ToolRun.MODULE, "target/cuda-emulation/cuda-tests");
        List<Matcher> cases = run.lines().stream().map(CASE::matcher).filter(Matcher::matches).toList();
        assertThat(cases).as("the program ends early:\n" + run.text()).hasSizeGreaterThan(50);
        assertThat(run.lines().getLast()).startsWith(cases.size() + " cases");
        return cases.stream().map(c -> dynamicTest(c.group(2), () -> assertThat(c.group(1)).as(c.group(3)).isEqualTo("ok")));
    }
}

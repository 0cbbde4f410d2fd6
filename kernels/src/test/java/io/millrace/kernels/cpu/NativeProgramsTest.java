package io.millrace.kernels.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import io.millrace.kernels.ToolRun;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * The programs in {@code src/test/c}, which meet the kernels without Java, over the objects that the build has made of them. Needs the C compiler
 * and make of that build. {@code make sanitize} runs the same under sanitizers.
 */
class NativeProgramsTest {
    /** Relative: make cannot take blanks in a path. */
    private static final String BUILD = "target/native-build";

    /** Property: each program ends with 0 on every instruction set of this machine. */
    @TestFactory
    Stream<DynamicTest> programs() {
        String compiler = System.getenv().getOrDefault("CC", "cc").split(" ")[0];
        if (!compiler.contains("/") && !ToolRun.onPath(compiler) || !ToolRun.onPath("make")) {
            return Stream.of(dynamicTest("native tests", () -> assumeTrue(false, "no " + compiler + " or no make on the PATH")));
        }
        ToolRun built = ToolRun.of(ToolRun.MODULE.resolve("src/main/c"), "make", "--silent", "-j2", "BUILD=../../../" + BUILD, "native-tests");
        assertThat(built.status()).as(built.text()).isZero();
        return Stream.of("selftest", "packtest", "plantest", "widetest").map(name -> dynamicTest(name, () -> {
            ToolRun run = ToolRun.of(ToolRun.MODULE, BUILD + "/tests/" + name);
            assertThat(run.status()).as("%s printed\n%s\n", name, run.text()).isZero();
            assertThat(run.lines()).as("what %s printed", name).isNotEmpty();
        }));
    }
}

package io.millrace.kernels.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.millrace.bindings.cuda.generated.MillraceCuda;
import io.millrace.kernels.ToolRun;
import java.lang.foreign.GroupLayout;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemoryLayout.PathElement;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** The structures that kernels take by value, as the C++ compiler lays them out and as the generated bindings do. */
class ParameterLayoutTest {
    private static final Pattern STRUCTURE = Pattern.compile("\"(mr_\\w+)\": \\{\"bytes\": (\\d+)((?:, \"\\w+\": \\[\\d+, \\d+])+)}");
    private static final Pattern FIELD = Pattern.compile("\"(\\w+)\": \\[(\\d+), (\\d+)]");

    /** Property: every structure has its class, with every field where the compiler has it. */
    @Test
    void sizesAndOffsetsAreThoseOfTheCompiler() throws ReflectiveOperationException {
        assumeTrue(ToolRun.onPath("c++") && ToolRun.onPath("make"), "no c++ or no make on the PATH");
        ToolRun built = ToolRun.of(ToolRun.MODULE.resolve("src/test/cuda"), "make", "--silent", "-j2", "BUILD=../../../target/cuda-emulation");
        assertThat(built.status()).as(built.text()).isZero();
        Matcher structure = STRUCTURE.matcher(ToolRun.of(ToolRun.MODULE, "target/cuda-emulation/cuda-tests", "--abi").text());
        List<String> seen = new ArrayList<>();
        while (structure.find()) {
            String name = structure.group(1);
            seen.add(name);
            Class<?> generated = Class.forName(MillraceCuda.class.getPackageName() + "." + name);
            GroupLayout layout = (GroupLayout) generated.getMethod("layout").invoke(null);
            assertThat(layout.byteSize()).as(name).isEqualTo(Long.parseLong(structure.group(2)));
            List<String> theirs = new ArrayList<>();
            Matcher field = FIELD.matcher(structure.group(3));
            while (field.find()) {
                theirs.add(field.group(1) + " at " + field.group(2) + ", " + field.group(3) + " bytes");
            }
            List<String> ours = new ArrayList<>();
            for (MemoryLayout member : layout.memberLayouts()) {
                member.name().ifPresent(n -> ours.add(n + " at " + layout.byteOffset(PathElement.groupElement(n)) + ", " + member.byteSize() + " bytes"));
            }
            assertThat(ours).as(name).isEqualTo(theirs);
        }
        assertThat(seen).contains("mr_linear_params", "mr_paged_decode_params", "mr_sample_params", "mr_cuda_fault").hasSizeGreaterThan(12);
    }
}

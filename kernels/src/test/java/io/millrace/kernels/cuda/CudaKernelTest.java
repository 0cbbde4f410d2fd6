package io.millrace.kernels.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.millrace.kernels.ToolRun;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

class CudaKernelTest {
    /** Property: the backend launches each kernel with the threads and the shared memory that its source was made for, and knows them all. */
    @Test
    void launchesAreThoseOfTheTable() throws IOException {
        List<String> table;
        try (Stream<String> lines = Files.lines(ToolRun.MODULE.resolve("src/main/cuda/gates.tsv"), StandardCharsets.UTF_8)) {
            table = lines.filter(line -> !line.startsWith("#")).map(line -> String.join("\t", Arrays.copyOf(line.split("\t"), 3))).toList();
        }
        List<String> launched = Arrays.stream(CudaKernel.values()).map(k -> k.symbol() + "\t" + k.threads + "\t" + k.sharedBytes).toList();
        assertThat(launched).containsExactlyInAnyOrderElementsOf(table);
    }

    /** Property: a kernel is in the file that the enum names, and a file has no other: by what the CUDA compiler said it compiled. */
    @Test
    void kernelsAreInTheirFiles() throws IOException {
        Path reports = ToolRun.MODULE.resolve("target/cuda-build");
        assumeTrue(Files.isDirectory(reports), "the build found no nvcc");
        for (String file : Arrays.stream(CudaKernel.values()).map(kernel -> kernel.file).distinct().toList()) {
            Set<String> compiled = Pattern.compile("Compiling entry function '(\\w+)'").matcher(Files.readString(reports.resolve(file + ".ptxas")))
                    .results().map(found -> found.group(1)).collect(Collectors.toSet());
            assertThat(Arrays.stream(CudaKernel.values()).filter(kernel -> kernel.file.equals(file)).map(CudaKernel::symbol)).as(file + ".cu")
                    .containsExactlyInAnyOrderElementsOf(compiled);
        }
    }

    /** Property: graphs are there for every batch size up to the most, few of them, with at most a third of rows that only fill up. */
    @Test
    void graphSizesCoverAllBatches() {
        for (int most : new int[] {1, 2, 3, 7, 16, 100, 256, 1000}) {
            int[] sizes = DecodeGraphs.sizes(most);
            assertThat(sizes).isSorted().doesNotHaveDuplicates();
            assertThat(sizes[0]).isEqualTo(1);
            assertThat(sizes[sizes.length - 1]).isEqualTo(most);
            for (int i = 1; i < sizes.length; i++) {
                assertThat(sizes[i] - sizes[i - 1] - 1).as("rows between %d and %d", sizes[i - 1], sizes[i]).isLessThanOrEqualTo(Math.max(3, sizes[i] / 3));
            }
            assertThat(sizes.length).isLessThan(32);
        }
    }
}

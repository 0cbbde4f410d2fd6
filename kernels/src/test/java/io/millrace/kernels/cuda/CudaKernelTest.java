package io.millrace.kernels.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
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

    /** Property: a kernel's file is where the enum says: the resource of another file has no such function. */
    @Test
    void kernelsAreInTheirFiles() throws IOException {
        for (CudaKernel kernel : CudaKernel.values()) {
            Path source = ToolRun.MODULE.resolve("src/main/cuda/" + kernel.file + ".cu");
            String name = kernel.symbol();
            // Families are written once: what comes after the last underscore is an argument of their macro.
            String text = Files.readString(source);
            String family = name.replaceFirst("_\\d+$", "");
            assertThat(text.contains(name) || text.contains(family + "_##") || text.contains("mr_linear_##what##_##")).as("%s in %s", name, source).isTrue();
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

package io.millrace.server.endtoend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.millrace.kernels.cuda.CudaImages;
import io.millrace.kernels.cuda.StubCuda;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What whoever starts servers sees of a GPU that cannot be used, or that fails: exit codes. And that without one nothing of CUDA is touched. */
class CudaProcessTest {
    private static final String[] SMALL = {"--backend", "cuda", "--max-num-seqs", "2", "--max-num-batched-tokens", "32", "--max-model-len", "64",
        "--kv-cache-memory-bytes", "8MiB"};

    private static List<String> stub(String... more) {
        assumeTrue(StubCuda.missing() == null, StubCuda.missing());
        List<String> flags = new ArrayList<>(List.of("-Dmillrace.cuda.library=" + StubCuda.library(), "-Dmillrace.cuda.kernels=" + CudaImages.folder()));
        flags.addAll(List.of(more));
        return flags;
    }

    private static void fails(int exitCode, String code, List<String> jvm, Map<String, String> environment) throws Exception {
        ServerProcess.Failure failure = ServerProcess.fails(jvm, environment, SMALL);
        assertThat(failure.text()).contains(code + ": ").doesNotContain("\tat ");
        assertThat(failure.exitCode()).as(failure.text()).isEqualTo(exitCode);
    }

    /** Property: a start that finds no driver, no device, no kernels or no memory ends with the exit code of just that. */
    @Test
    void startsEndWithTheirExitCodes() throws Exception {
        fails(10, "CUDA-001", stub("-Dmillrace.cuda.library=/nowhere/libcuda.so.1"), Map.of());
        fails(11, "CUDA-002", stub(), Map.of("MR_STUB_MODULE_STATUS", "222"));
        fails(12, "CUDA-003", stub(), Map.of("MR_STUB_DEVICES", "0"));
        fails(13, "CUDA-011", stub("-Dmillrace.cuda.kernels=/nowhere"), Map.of());
        fails(14, "CUDA-005", stub(), Map.of("MR_STUB_FAIL_ALLOCATION", "12"));
    }

    /** Property: a device that is lost while it serves ends the process, so that it is started anew; its requests have heard of it before. */
    @Test
    void aLostDeviceEndsTheProcess() throws Exception {
        try (ServerProcess server = ServerProcess.start(stub(), Map.of("MR_STUB_FAIL_LAUNCH", "150"), SMALL)) {
            var answer = server.post("/v1/completions", "{\"prompt\":\"Once upon a time\",\"max_tokens\":40,\"ignore_eos\":true}");
            assertThat(answer.statusCode()).as(answer.body()).isEqualTo(500);
            assertThat(server.awaitEnd()).as(server.log()).isEqualTo(15);
            assertThat(server.log()).contains("CUDA-006").contains("the device is lost");
        }
    }

    /** Property: a server on the CPU loads no class that knows of CUDA. */
    @Test
    void theCpuTouchesNothingOfCuda(@TempDir Path folder) throws IOException, InterruptedException {
        Path log = folder.resolve("classes.txt");
        try (ServerProcess server = ServerProcess.start(List.of("-Xlog:class+load:file=" + log), Map.of())) {
            assertThat(server.post("/v1/completions", "{\"prompt\":\"Once\",\"max_tokens\":3}").statusCode()).isEqualTo(200);
            server.terminate();
            server.awaitEnd();
        }
        try (Stream<String> lines = Files.lines(log)) {
            List<String> loaded = lines.filter(line -> line.contains("io.millrace.")).toList();
            assertThat(loaded).hasSizeGreaterThan(100);
            assertThat(loaded).filteredOn(line -> line.contains("cuda") || line.contains("Cuda")).isEmpty();
        }
    }
}

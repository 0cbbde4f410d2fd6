package io.millrace.server.endtoend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.TextNode;
import io.millrace.engine.EngineException;
import io.millrace.kernels.cuda.CudaImages;
import io.millrace.kernels.cuda.StubCuda;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The whole server on the CUDA path, over the stub libcuda, whose kernels are the emulated ones: no GPU is needed, and no speed is seen. */
class CudaServerTest {
    private static final String EXPECTED = "models/stories260K/expected/";
    /** What rounding to BF16 can turn over, in logarithms of probabilities; the widest that was measured is 0.004. */
    private static final double UNCERTAIN_MARGIN = 0.05;

    @BeforeEach
    void stub() {
        assumeTrue(StubCuda.missing() == null, StubCuda.missing());
        StubCuda.reset();
        CudaImages.install();
    }

    @AfterEach
    void nothingIsLeft() {
        if (StubCuda.missing() == null) {
            CudaImages.assertNothingIsLeft();
        }
    }

    private static Path model() {
        return RealServer.data("models/stories260K/hf-fp32");
    }

    private static RealServer server(String... flags) {
        List<String> all = new ArrayList<>(List.of("device", "cuda", "max-num-seqs", "4", "max-num-batched-tokens", "64", "max-model-len", "256",
                "kv-cache-memory-bytes", "16MiB"));
        all.addAll(List.of(flags));
        return new RealServer(model(), all.toArray(String[]::new));
    }

    /** Property: with every driver, the reference's greedy text as far as its margins make it certain, for all prompts; the banner says what runs. */
    @ParameterizedTest
    @ValueSource(strings = {"mixed", "ffm", "jcuda"})
    void greedyTextAsFarAsMarginsGo(String driver) throws IOException {
        int most = driver.equals("mixed") ? 100 : 12;
        int compared = 0;
        try (RealServer server = server("cuda-driver", driver)) {
            assertThat(server.generation.model().report()).anySatisfy(line -> assertThat(line).startsWith("backend  cuda: ").contains("driver through " + driver))
                    .anySatisfy(line -> assertThat(line).startsWith("dtype ").contains("weights of F32 rounded to bfloat16"))
                    .anySatisfy(line -> assertThat(line).contains("free on "))
                    .anySatisfy(line -> assertThat(line).contains("kv cache").contains("BF16"));
            for (JsonNode line : RealServer.jsonLines(EXPECTED + "greedy.jsonl")) {
                if (!line.get("weights").textValue().equals("fp32")) {
                    continue;
                }
                int tokens = 0;
                for (JsonNode step : line.get("steps")) {
                    if (step.get("margin").doubleValue() < UNCERTAIN_MARGIN || tokens == most) {
                        break;
                    }
                    tokens++;
                }
                if (tokens == 0) {
                    continue;
                }
                int[] prompt = new int[line.get("prompt_ids").size()];
                for (int i = 0; i < prompt.length; i++) {
                    prompt[i] = line.get("prompt_ids").get(i).intValue();
                }
                var decoder = server.generation.model().tokenizer().decoder(prompt, true);
                StringBuilder expected = new StringBuilder();
                for (int i = 0; i < tokens; i++) {
                    expected.append(decoder.append(line.get("output_ids").get(i).intValue()));
                }
                expected.append(decoder.finish());
                String text = server.complete(server.greedy(line.get("prompt_ids"), tokens)).at("/choices/0/text").textValue();
                assertThat(text).as("%s, %d tokens", line.get("prompt").textValue(), tokens).isEqualTo(expected.toString());
                compared += tokens;
            }
        }
        assertThat(compared).as("tokens compared").isGreaterThan(2 * most);
    }

    /** Property: steps of decode run as graphs, and after the start nothing is allocated, whatever is asked for; overlapped steps change no text. */
    @Test
    void nothingIsAllocatedAfterTheStart() throws Exception {
        List<String> prompts = List.of("Once upon a time", "The dog", "Lily and her mom went", "One day");
        List<String> alone = new ArrayList<>();
        try (RealServer server = server(); ExecutorService pool = Executors.newVirtualThreadPerTaskExecutor()) {
            long allocations = StubCuda.get("allocations");
            long pinned = StubCuda.get("live_pinned");
            long graphs = StubCuda.get("live_graphs");
            for (String prompt : prompts) {
                alone.add(server.stream(server.greedy(TextNode.valueOf(prompt), 24)));
            }
            assertThat(StubCuda.get("graph_launches")).as("steps that ran as graphs").isGreaterThanOrEqualTo(4 * 23);
            List<Future<String>> together = prompts.stream()
                    .map(prompt -> pool.submit(() -> server.stream(server.greedy(TextNode.valueOf(prompt), 24)))).toList();
            for (int i = 0; i < prompts.size(); i++) {
                assertThat(together.get(i).get()).as(prompts.get(i)).isEqualTo(alone.get(i));
            }
            // Penalties, a bias, log-probabilities: lists that travel with the step.
            server.complete(server.greedy(TextNode.valueOf("The cat"), 6).put("temperature", 0.8).put("seed", 3).put("presence_penalty", 0.5)
                    .put("logprobs", 3));
            assertThat(StubCuda.get("allocations")).as("allocations after the start").isEqualTo(allocations);
            assertThat(StubCuda.get("live_pinned")).isEqualTo(pinned);
            assertThat(StubCuda.get("live_graphs")).as("graphs are captured once").isEqualTo(graphs);
        }
        try (RealServer server = server("async-scheduling", "true"); ExecutorService pool = Executors.newVirtualThreadPerTaskExecutor()) {
            List<Future<String>> together = prompts.stream()
                    .map(prompt -> pool.submit(() -> server.stream(server.greedy(TextNode.valueOf(prompt), 24)))).toList();
            for (int i = 0; i < prompts.size(); i++) {
                assertThat(together.get(i).get()).as("overlapped, %s", prompts.get(i)).isEqualTo(alone.get(i));
            }
        }
    }

    /** Property: penalties count tokens that an overlapped step has not settled yet: the same text as with steps one after the other. */
    @Test
    void penaltiesHoldInOverlappedSteps() {
        List<String> texts = new ArrayList<>();
        for (String overlapped : List.of("false", "true")) {
            try (RealServer server = server("async-scheduling", overlapped)) {
                texts.add(server.stream(server.greedy(TextNode.valueOf("Once upon a time"), 40).put("frequency_penalty", 1.5)));
            }
        }
        assertThat(texts.get(1)).isEqualTo(texts.get(0));
    }

    /** Property: each fault at the start has its code, says what is missing and what to do, and leaves nothing behind. */
    @ParameterizedTest
    @CsvSource({"devices, 0, CUDA-003, NO_DEVICE", "compute_major, 7, CUDA-004, compute capability", "no_binary, 1, CUDA-004, NO_BINARY",
        "memory_bytes, 65536, MEM-001, free on", "fail_allocation, 9, CUDA-005, OUT_OF_MEMORY", "driver_version, 11040, CUDA-002, driver",
        "driver_version, 12080, CUDA-002, 13.0", "init_status, 999, CUDA-012, nvidia-uvm", "init_status, 802, CUDA-012, fabric manager"})
    void faultsAtTheStart(String setting, long value, String code, String words) {
        model();
        StubCuda.set(setting, value);
        assertThatThrownBy(CudaServerTest::server).isInstanceOfSatisfying(EngineException.class, e -> assertThat(e.code()).isEqualTo(code))
                .hasMessageStartingWith(code + ": ").hasMessageContaining(words);
        StubCuda.reset();
    }

    /** Property: what the GPU has no kernels for is refused before anything runs, with the remedy. */
    @ParameterizedTest
    @CsvSource({"kv-cache-dtype, float32, --kv-cache-dtype auto or bfloat16", "block-size, 32, --block-size 16", "quantization, q8_0, --backend cpu",
        "dtype, float32, --dtype auto or bfloat16"})
    void unsupportedSettingsAreRefused(String flag, String value, String remedy) {
        model();
        assertThatThrownBy(() -> server(flag, value)).isInstanceOf(EngineException.class).hasMessageStartingWith("CFG-003").hasMessageContaining(remedy);
    }

    /** Property: a kernel that fails while it serves ends its requests with an error, and nothing more is served from that context. */
    @Test
    void aLostDeviceEndsRequestsAndServesNoMore() {
        try (RealServer server = server()) {
            server.stream(server.greedy(TextNode.valueOf("Once"), 3));
            StubCuda.set("fail_launch", 40);
            assertThatThrownBy(() -> server.stream(server.greedy(TextNode.valueOf("Once upon a time"), 60))).hasMessageContaining("CUDA-006");
            assertThat(server.generation.service().status().alive()).isFalse();
            assertThat(server.generation.service().status().failure()).startsWith("CUDA-006:");
            assertThatThrownBy(() -> server.stream(server.greedy(TextNode.valueOf("Once"), 3))).hasMessageContaining("SCH-014");
        }
        StubCuda.reset();
    }
}

package io.millrace.engine;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.kernels.DType;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Llama checkpoints in all config spellings against an independent float64 implementation. With float32 activations and cache a
 * correct forward lands within 5e-5; the line drawn here, 2e-4 of the logits' spread, is far below what any wrong feature moves.
 */
class LlamaGoldenTest {
    private static final double TOLERANCE = 2e-4;

    static Stream<Arguments> cases() {
        return TestBackends.names().flatMap(backend -> Stream.of("llama-a", "llama-rope3-a", "llama-bias-a", "llama-v5cfg-a")
                .map(name -> Arguments.of(backend, name)));
    }

    /** Property: logits equal the reference at every stored row, and the best token at every position, however the prompt is cut. */
    @ParameterizedTest(name = "{0} {1}")
    @MethodSource("cases")
    void logitsEqualTheReference(String backend, String name) {
        Path folder = TestData.require("golden/" + name);
        JsonNode golden = TestData.json(folder.resolve("golden.json"));
        double std = golden.get("logits_std").doubleValue();
        try (LogitsProbe probe = new LogitsProbe(folder, backend, DType.F32)) {
            double worst = 0;
            for (JsonNode sequence : golden.get("sequences")) {
                int[] ids = TestData.ints(sequence.get("input_ids"));
                float[][] whole = probe.logits(ids, ids.length);
                worst = Math.max(worst, check(sequence, whole, std));
                for (int chunk : new int[] {1, 3, 16}) {
                    // Batch-invariant operations: not close, equal.
                    assertThat(probe.logits(ids, chunk)).as("chunks of %d", chunk).isDeepEqualTo(whole);
                }
            }
            System.out.printf("%-14s %-9s worst logit error %.1e of the spread%n", name, backend, worst);
        }
    }

    private static double check(JsonNode sequence, float[][] logits, double std) {
        double worst = 0;
        for (JsonNode row : sequence.get("logits")) {
            int position = row.get("position").intValue();
            JsonNode expected = row.get("values");
            for (int id = 0; id < expected.size(); id++) {
                worst = Math.max(worst, Math.abs(expected.get(id).doubleValue() - logits[position][id]) / std);
            }
        }
        assertThat(worst).as("largest logit error, in units of the logits' spread").isLessThan(TOLERANCE);
        int[] best = TestData.ints(sequence.get("argmax_all_positions"));
        for (int position = 0; position < best.length; position++) {
            assertThat(argmax(logits[position])).as("best token at position %d", position).isEqualTo(best[position]);
        }
        return worst;
    }

    /** Property: greedy tokens equal the reference's, through the engine, alone and together, at any chunk size. */
    @ParameterizedTest(name = "{0} {1}")
    @MethodSource("cases")
    void greedyEqualsTheReference(String backend, String name) {
        Path folder = TestData.require("golden/" + name);
        JsonNode golden = TestData.json(folder.resolve("golden.json"));
        List<int[]> prompts = new ArrayList<>();
        List<int[]> expected = new ArrayList<>();
        for (JsonNode sequence : golden.get("sequences")) {
            prompts.add(TestData.ints(sequence.get("input_ids")));
            expected.add(TestData.ints(sequence.at("/greedy/tokens")));
        }
        SamplingParams sampling = SamplingParams.builder().temperature(0).maxTokens(expected.getFirst().length).ignoreEos(true).build();
        EngineConfig config = EngineConfig.defaults().withBackend(backend).withLimits(128, 4, 0).withKvCache("float32", 0).withThreads(2);
        try (ModelEngine engine = ModelLoader.loadEngine(folder, config).engine()) {
            for (int chunk : new int[] {1, 3, 16, 512}) {
                List<int[]> outputs = new TextGenerator(engine, chunk).generate(prompts, sampling, TextGenerator.StepListener.NONE);
                assertThat(outputs.toArray(int[][]::new)).as("chunks of %d", chunk).isDeepEqualTo(expected.toArray(int[][]::new));
            }
        }
    }

    private static int argmax(float[] values) {
        int best = 0;
        for (int i = 1; i < values.length; i++) {
            if (values[i] > values[best]) {
                best = i;
            }
        }
        return best;
    }
}

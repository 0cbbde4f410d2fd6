package io.millrace.engine;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.kernels.DType;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Checkpoints of every architecture against an independent float64 implementation, as they are and converted to GGUF. With float32
 * activations and cache a correct forward lands within 5e-5; the line drawn here, 2e-4 of the logits' spread, is far below what any wrong
 * feature moves, and half of what the exact GELU in place of its approximation does.
 */
class DecoderGoldenTest {
    private static final double TOLERANCE = 2e-4;
    private static final List<String> CHECKPOINTS = List.of("llama-a", "llama-rope3-a", "llama-bias-a", "llama-v5cfg-a", "mistral-a", "qwen2-a",
            "qwen2-swa-a", "qwen2-yarn-a", "qwen3-a", "gemma2-a", "gemma3-a", "gemma3-v5cfg-a", "phi3-longrope-a", "phi3-su-a", "phi3-plain-a",
            "granite-a", "smollm3-a");
    /** The rope of phi3-longrope-a goes by the longest context allowed: short factors serve up to 32 tokens, long ones beyond. */
    private static final int SHORT_CONTEXT = 32;
    private static final int CONTEXT = 128;

    @TempDir
    Path temporary;

    static Stream<Arguments> cases() {
        return CHECKPOINTS.stream().flatMap(name -> Stream.of("safetensors", "gguf")
                .flatMap(form -> TestBackends.names().map(backend -> Arguments.of(name, form, backend))));
    }

    private Path model(String name, String form) {
        Path folder = TestData.require("golden/" + name);
        try {
            return form.equals("gguf") ? GgufConversion.of(folder).write(temporary.resolve("model.gguf")) : folder;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Sequences that the given context serves as the reference computed them: all but those whose rope it would choose otherwise. */
    private static List<JsonNode> sequences(String name, JsonNode golden, int context, int newTokens) {
        List<JsonNode> chosen = new ArrayList<>();
        for (JsonNode sequence : golden.get("sequences")) {
            int length = sequence.get("input_ids").size();
            boolean fits = length + newTokens <= context;
            boolean sameRope = !name.equals("phi3-longrope-a") || (context == SHORT_CONTEXT) == (length <= SHORT_CONTEXT);
            if (fits && sameRope) {
                chosen.add(sequence);
            }
        }
        return chosen;
    }

    private static int[] contexts(String name) {
        return name.equals("phi3-longrope-a") ? new int[] {SHORT_CONTEXT, CONTEXT} : new int[] {CONTEXT};
    }

    /** Property: logits equal the reference at every stored row, and the best token at every position, however the prompt is cut. */
    @ParameterizedTest(name = "{0} {1} {2}")
    @MethodSource("cases")
    void logitsEqualTheReference(String name, String form, String backend) {
        Path path = model(name, form);
        JsonNode golden = TestData.json(TestData.require("golden/" + name).resolve("golden.json"));
        double std = golden.get("logits_std").doubleValue();
        double worst = 0;
        int compared = 0;
        for (int context : contexts(name)) {
            try (LogitsProbe probe = new LogitsProbe(path, backend, DType.F32, context)) {
                for (JsonNode sequence : sequences(name, golden, context, 0)) {
                    int[] ids = TestData.ints(sequence.get("input_ids"));
                    float[][] whole = probe.logits(ids, ids.length);
                    worst = Math.max(worst, check(sequence, whole, std));
                    for (int chunk : new int[] {1, 3, 16}) {
                        // Batch-invariant operations: not close, equal.
                        assertThat(probe.logits(ids, chunk)).as("chunks of %d", chunk).isDeepEqualTo(whole);
                    }
                    compared++;
                }
            }
        }
        assertThat(compared).isEqualTo(golden.get("sequences").size());
        System.out.printf("%-15s %-11s %-9s worst logit error %.1e of the spread%n", name, form, backend, worst);
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
    @ParameterizedTest(name = "{0} {1} {2}")
    @MethodSource("cases")
    void greedyEqualsTheReference(String name, String form, String backend) {
        Path path = model(name, form);
        JsonNode golden = TestData.json(TestData.require("golden/" + name).resolve("golden.json"));
        int newTokens = golden.at("/sequences/0/greedy/tokens").size();
        SamplingParams sampling = SamplingParams.builder().temperature(0).maxTokens(newTokens).ignoreEos(true).build();
        int compared = 0;
        for (int context : contexts(name)) {
            List<int[]> prompts = new ArrayList<>();
            List<int[]> expected = new ArrayList<>();
            for (JsonNode sequence : sequences(name, golden, context, newTokens)) {
                prompts.add(TestData.ints(sequence.get("input_ids")));
                expected.add(TestData.ints(sequence.at("/greedy/tokens")));
            }
            EngineConfig config = EngineConfig.defaults().withBackend(backend).withDtype("float32").withLimits(context, 4, 0).withKvCache("float32", 0).withThreads(2);
            try (ModelEngine engine = ModelLoader.loadEngine(path, config).engine()) {
                for (int chunk : new int[] {1, 3, 16, 512}) {
                    List<int[]> outputs = new TextGenerator(engine, chunk).generate(prompts, sampling, TextGenerator.StepListener.NONE);
                    assertThat(outputs.toArray(int[][]::new)).as("chunks of %d", chunk).isDeepEqualTo(expected.toArray(int[][]::new));
                }
            }
            compared += prompts.size();
        }
        assertThat(compared).isEqualTo(3);
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

package io.millrace.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** A real model against its author's published text and float64 expectations, from text to text. */
class Stories260kTest {
    private static final String MODEL = "models/stories260K/hf-fp32";
    private static final EngineConfig LIMITS = EngineConfig.defaults().withDtype("float32").withLimits(512, 4, 0).withThreads(2);

    static Stream<String> backends() {
        return TestBackends.names();
    }

    /** Property: greedy decoding from an empty prompt gives the published text to the last character and stops where the model does. */
    @ParameterizedTest(name = "{0}")
    @MethodSource("backends")
    void publishedTextToTheLastCharacter(String backend) {
        Path folder = TestData.require(MODEL);
        JsonNode known = TestData.json(TestData.require("models/stories260K/expected/known_texts.json"));
        try (LoadedModel model = ModelLoader.load(folder, LIMITS.withBackend(backend))) {
            StringBuilder streamed = new StringBuilder();
            TextGenerator generator = new TextGenerator(model.engine());
            String text = generator.generate(model.tokenizer(), "", SamplingParams.greedy(500), streamed::append);
            String full = known.get("greedy_full_text").textValue();
            assertThat(text).isEqualTo(full).startsWith(known.get("greedy_256_steps_doc").textValue())
                    .startsWith(known.get("greedy_200_steps_runc_test_all").textValue());
            assertThat(streamed).hasToString(full);
            assertThat(model.chatTemplate()).isPresent();
            assertThat(model.engine().limits().eosTokenIds()).containsExactly(1, 2);
        }
    }

    /** Property: tokens, log-probabilities, ranks and alternatives equal the float64 reference, step by step. */
    @ParameterizedTest(name = "{0}")
    @MethodSource("backends")
    void tokensAndLogprobsEqualTheReference(String backend) {
        checkCases("fp32", TestData.require(MODEL), backend);
    }

    /** Property: the same for GGUF files, whose query and key rows are reordered and whose configuration is metadata. */
    @ParameterizedTest(name = "{0}")
    @MethodSource("backends")
    void ggufFilesEqualTheReference(String backend) {
        for (String type : List.of("F32", "F16")) {
            checkCases("gguf-" + type, TestData.require("models/stories260K/gguf/stories260K-" + type + ".gguf"), backend);
        }
    }

    /** Property: a GGUF file brings its own tokenizer and end-of-sequence id. */
    @Test
    void ggufFileIsAWholeModel() {
        Path file = TestData.require("models/stories260K/gguf/stories260K-F32.gguf");
        JsonNode known = TestData.json(TestData.require("models/stories260K/expected/known_texts.json"));
        try (LoadedModel model = ModelLoader.load(file, LIMITS)) {
            String text = new TextGenerator(model.engine()).generate(model.tokenizer(), "", SamplingParams.greedy(199), piece -> {});
            assertThat(known.get("greedy_full_text").textValue()).startsWith(text);
            assertThat(text).hasSizeGreaterThan(400);
            assertThat(model.name()).isEqualTo("stories260K-F32");
            assertThat(model.engine().limits().eosTokenIds()).containsExactly(2);
        }
    }

    /** Property: quantised files are read, and the author's text stays about as likely under them as under float32, on both backends. */
    @ParameterizedTest(name = "{0}")
    @MethodSource("backends")
    void quantisedGgufFiles(String backend) {
        double exact = meanLogprob(TestData.require(MODEL), backend);
        assertThat(meanLogprob(TestData.require("models/stories260K/gguf/stories260K-Q8_0.gguf"), backend)).isEqualTo(exact, within(0.005));
        assertThat(meanLogprob(TestData.require("models/stories260K/gguf/stories260K-Q4_0.gguf"), backend)).isEqualTo(exact, within(0.2));
    }

    /** Property: BF16 products, F16 weights rounded for them, leave the author's text as likely as exact arithmetic does. */
    @Test
    void roundedProducts() {
        double exact = meanLogprob(TestData.require(MODEL), LIMITS);
        Path halves = TestData.require("models/stories260K/gguf/stories260K-F16.gguf");
        assertThat(meanLogprob(halves, LIMITS.withDtype("auto"))).isEqualTo(exact, within(0.002));
        assertThat(meanLogprob(halves, LIMITS.withDtype("float16"))).isEqualTo(exact, within(0.0005));
    }

    private static double meanLogprob(Path path, String backend) {
        return meanLogprob(path, LIMITS.withBackend(backend));
    }

    private static double meanLogprob(Path path, EngineConfig settings) {
        JsonNode known = TestData.json(TestData.require("models/stories260K/expected/known_texts.json"));
        try (LoadedModel model = ModelLoader.load(path, settings)) {
            int[] ids = model.tokenizer().encode(known.get("greedy_full_text").textValue(), true);
            double[] sum = new double[2];
            SamplingParams sampling = SamplingParams.builder().temperature(0).maxTokens(1).numPromptLogprobs(0).build();
            new TextGenerator(model.engine()).generate(List.of(ids), sampling, (plan, result) -> {
                for (int k = 0; k < result.numScoredRows(0); k++) {
                    sum[0] += result.logprob(result.firstScoredRow(0) + k);
                    sum[1]++;
                }
            });
            assertThat(sum[1]).isEqualTo(ids.length - 1.0);
            return sum[0] / sum[1];
        }
    }

    private static void checkCases(String weights, Path path, String backend) {
        List<JsonNode> cases = TestData.jsonLines(TestData.require("models/stories260K/expected/greedy.jsonl"));
        int checked = 0;
        try (ModelEngine engine = ModelLoader.loadEngine(path, LIMITS.withBackend(backend).withKvCache("float32", 0)).engine()) {
            for (JsonNode expected : cases) {
                if (expected.get("weights").textValue().equals(weights)) {
                    checkCase(engine, expected);
                    checked++;
                }
            }
        }
        assertThat(checked).isEqualTo(8);
    }

    private static void checkCase(ModelEngine engine, JsonNode expected) {
        int[] prompt = TestData.ints(expected.get("prompt_ids"));
        int[] output = TestData.ints(expected.get("output_ids"));
        JsonNode steps = expected.get("steps");
        SamplingParams sampling = SamplingParams.builder().temperature(0).maxTokens(output.length).ignoreEos(true).numLogprobs(5).build();
        int[] step = {0};
        List<int[]> outputs = new TextGenerator(engine).generate(List.of(prompt), sampling, (plan, result) -> {
            if (result.token(0) >= 0 && step[0] < steps.size()) {
                checkStep(steps.get(step[0]++), result, result.sampledRow(0));
            }
        });
        assertThat(outputs.getFirst()).as(expected.get("prompt").textValue()).isEqualTo(output);
        assertThat(step[0]).isPositive();
    }

    private static void checkStep(JsonNode expected, StepResult result, int row) {
        assertThat(result.rowToken(row)).isEqualTo(expected.get("token").intValue());
        assertThat(result.logprob(row)).isEqualTo(expected.get("logprob").floatValue(), within(2e-4f));
        assertThat(result.rank(row)).isEqualTo(1);
        assertThat(result.numTop(row)).isEqualTo(5);
        JsonNode top = expected.get("top5");
        for (int k = 0; k < 5; k++) {
            assertThat(result.topLogprob(row, k)).isEqualTo(top.get(k).get(1).floatValue(), within(2e-4f));
        }
    }
}

package io.millrace.engine;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.kernels.QuantFormat;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Every weight format of GGUF files in whole models. Compared is the log-probability of every token of a text under the format with that of
 * the float64 reference or of float32 weights: its mean distance, and that the token the reference prefers by more than a margin stays
 * preferred. The bounds are a little above what each format costs these models: the reference backend, which rounds no activations and decodes
 * by definition, is as far off. A wrong scale, minimum or bit costs several units.
 */
class GgufFormatsTest {
    private static final EngineConfig EXACT = EngineConfig.defaults().withDtype("float32").withLimits(512, 1, 0).withKvCache("float32", 0)
            .withThreads(2);
    private static final int STORY_TOKENS = 256;

    @TempDir
    Path folder;

    /**
     * Property: stories260K against the expectations for its unrounded weights, in the published files and in formats made here. Its rows of 64 are
     * too narrow for blocks of 256: files "in" these formats hold what converters fall back to, of one bit more or two.
     */
    @ParameterizedTest(name = "{0}, mean {1}, margin {2}")
    @CsvSource({"F32, 0.0001, 0.001", "F16, 0.0006, 0.01", "BF16, 0.006, 0.05", "Q8_0, 0.02, 0.08", "Q4_0, 0.26, 2.4", "Q4_1, 0.22, 2.2",
        "Q5_0, 0.14, 1.0", "Q5_1, 0.14, 1.0", "Q4_K, 0.14, 1.0", "Q5_K, 0.14, 1.0", "Q6_K, 0.02, 0.08"})
    void storiesInEveryFormat(String format, double meanDistance, double margin) throws IOException {
        for (String backend : List.of("reference", "cpu")) {
            double sum = 0;
            int count = 0;
            int sure = 0;
            double lost = 0;
            try (ModelEngine engine = ModelLoader.loadEngine(stories(format), EXACT.withBackend(backend)).engine()) {
                for (JsonNode expected : TestData.jsonLines(TestData.require("models/stories260K/expected/greedy.jsonl"))) {
                    if (!expected.get("weights").asText().equals("gguf-F32")) {
                        continue;
                    }
                    JsonNode steps = expected.get("steps");
                    int[] prompt = TestData.ints(expected.get("prompt_ids"));
                    int[] ids = IntStream.concat(IntStream.of(prompt), IntStream.range(0, steps.size()).map(i -> steps.get(i).get("token").asInt()))
                            .toArray();
                    Scores scores = score(engine, ids);
                    for (int i = 0; i < steps.size(); i++) {
                        sum += Math.abs(scores.logprobs()[prompt.length + i - 1] - steps.get(i).get("logprob").doubleValue());
                        count++;
                        double ahead = steps.get(i).get("margin").doubleValue();
                        sure += ahead > margin ? 1 : 0;
                        lost = scores.ranks()[prompt.length + i - 1] == 1 ? lost : Math.max(lost, ahead);
                    }
                }
            }
            System.out.printf("stories260K %-5s %-9s mean distance %.5f over %d tokens; %d are ahead by more than %s, lost up to %.3f%n", format, backend,
                    sum / count, count, sure, margin, lost);
            assertThat(count).isEqualTo(8 * 64);
            assertThat(sure).as("tokens that must stay").isGreaterThan(100);
            assertThat(lost).as("%s %s: largest margin lost", format, backend).isLessThanOrEqualTo(margin);
            assertThat(sum / count).as("%s %s: mean distance of log-probabilities", format, backend).isLessThan(meanDistance);
        }
    }

    private Path stories(String format) throws IOException {
        return switch (format) {
            case "F32", "F16", "Q8_0", "Q4_0" -> TestData.require("models/stories260K/gguf/stories260K-" + format + ".gguf");
            case "BF16" -> GgufConversion.of(TestData.require("models/stories260K/hf-bf16")).write(folder.resolve("model.gguf"));
            default -> GgufConversion.of(TestData.require("models/stories260K/hf-fp32"), QuantFormat.valueOf(format), switch (format) {
                case "Q4_K" -> QuantFormat.Q5_0;
                case "Q5_K" -> QuantFormat.Q5_1;
                case "Q6_K" -> QuantFormat.Q8_0;
                default -> null;
            }).write(folder.resolve("model.gguf"));
        };
    }

    /**
     * Property: the formats with blocks of 256, for which stories260K is too narrow, and the others again, in the bundled model on a story it
     * has not seen. Its MLP's second matrix, 704 wide, keeps its type where blocks do not fit, so that formats are mixed as in real files.
     */
    @ParameterizedTest(name = "{0}, mean {1}, sum {2}")
    @CsvSource({"Q8_0, 0.02, 0.01", "Q4_0, 0.2, 0.05", "Q4_1, 0.2, 0.06", "Q5_0, 0.1, 0.02", "Q5_1, 0.1, 0.02", "Q4_K, 0.17, 0.06", "Q5_K, 0.08, 0.02", "Q6_K, 0.045, 0.01"})
    void bundledModelInEveryFormat(QuantFormat format, double meanDistance, double meanChange) throws IOException {
        Path plain = Path.of("..", "server", "demo-model");
        Path rounded = GgufConversion.of(plain, format).write(folder.resolve("model.gguf"));
        int[] story;
        try (LoadedModel model = ModelLoader.load(plain, EXACT)) {
            story = IntStream.of(model.tokenizer().encode(Files.readString(plain.resolve("heldout.txt")), true)).limit(STORY_TOKENS).toArray();
            double[] expected = score(model.engine(), story).logprobs();
            for (String backend : List.of("reference", "cpu")) {
                try (ModelEngine engine = ModelLoader.loadEngine(rounded, EXACT.withBackend(backend)).engine()) {
                    double[] actual = score(engine, story).logprobs();
                    double distance = 0;
                    double change = 0;
                    for (int i = 0; i < actual.length; i++) {
                        distance += Math.abs(actual[i] - expected[i]) / actual.length;
                        change += (actual[i] - expected[i]) / actual.length;
                    }
                    System.out.printf("bundled     %-5s %-9s mean distance %.5f, change %.5f over %d tokens%n", format, backend, distance, change,
                            actual.length);
                    assertThat(distance).as("%s %s: mean distance of log-probabilities", format, backend).isLessThan(meanDistance);
                    assertThat(Math.abs(change)).as("%s %s: change of the mean log-probability", format, backend).isLessThan(meanChange);
                }
            }
        }
    }

    private record Scores(double[] logprobs, int[] ranks) {}

    /** Of each token but the first, given those before it. */
    private static Scores score(Engine engine, int[] ids) {
        List<double[]> rows = new ArrayList<>();
        SamplingParams sampling = SamplingParams.builder().temperature(0).maxTokens(1).numPromptLogprobs(0).build();
        new TextGenerator(engine).generate(List.of(ids), sampling, (plan, result) -> {
            for (int k = 0; k < result.numScoredRows(0); k++) {
                int row = result.firstScoredRow(0) + k;
                rows.add(new double[] {result.logprob(row), result.rank(row)});
            }
        });
        assertThat(rows).hasSize(ids.length - 1);
        return new Scores(rows.stream().mapToDouble(row -> row[0]).toArray(), rows.stream().mapToInt(row -> (int) row[1]).toArray());
    }
}

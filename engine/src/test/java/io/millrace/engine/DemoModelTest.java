package io.millrace.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The bundled model against what its training framework computed: the files fit together, and so do the numbers. Needs no outside data. */
class DemoModelTest {
    private static final Path FOLDER = Path.of("..", "server", "demo-model");
    private static LoadedModel model;
    private static JsonNode expected;

    @BeforeAll
    static void load() {
        model = ModelLoader.load(FOLDER, exact());
        expected = TestData.json(FOLDER.resolve("expected.json"));
    }

    private static EngineConfig exact() {
        return EngineConfig.defaults().withDtype("float32").withLimits(1024, 4, 0).withKvCache("float32", 0).withThreads(2);
    }

    @AfterAll
    static void close() {
        model.close();
    }

    /** Property: greedy tokens equal as far as no step is nearly a tie. */
    @Test
    void greedyTokens() {
        int compared = 0;
        for (JsonNode c : expected.get("greedy")) {
            int[] output = TestData.ints(c.get("output_ids"));
            int upTo = c.get("first_margin_below_0_02").isNull() ? output.length : c.get("first_margin_below_0_02").intValue();
            int[] actual = new TextGenerator(model.engine()).generate(List.of(TestData.ints(c.get("input_ids"))),
                    SamplingParams.greedy(output.length), TextGenerator.StepListener.NONE).getFirst();
            assertThat(Arrays.copyOf(actual, upTo)).as("after %s", c.get("input_ids")).isEqualTo(Arrays.copyOf(output, upTo));
            compared += upTo;
        }
        assertThat(compared).isGreaterThan(200);
    }

    /** Property: log-probabilities of whole held-out stories, scored as prompts. */
    @Test
    void logprobsOfHeldOutStories() {
        checkLogprobs(model, 1e-3f, 0.02);
    }

    /** Property: with BF16 products where the processor has them, each token is about as likely and a story, all in all, the same. */
    @Test
    void logprobsByRoundedProducts() {
        try (LoadedModel rounded = ModelLoader.load(FOLDER, exact().withDtype("auto"))) {
            checkLogprobs(rounded, 0.1f, 0.5);
        }
    }

    private static void checkLogprobs(LoadedModel of, float perToken, double inAll) {
        SamplingParams sampling = SamplingParams.builder().temperature(0).maxTokens(1).numPromptLogprobs(0).build();
        for (JsonNode c : expected.get("scores")) {
            List<Float> logprobs = new ArrayList<>();
            new TextGenerator(of.engine()).generate(List.of(TestData.ints(c.get("ids"))), sampling, (plan, result) -> {
                for (int k = 0; k < result.numScoredRows(0); k++) {
                    logprobs.add(result.logprob(result.firstScoredRow(0) + k));
                }
            });
            assertThat(logprobs).hasSize(c.get("logprobs").size());
            double sum = 0;
            for (int i = 0; i < logprobs.size(); i++) {
                assertThat(logprobs.get(i)).as("token %d", i).isEqualTo(c.get("logprobs").get(i).floatValue(), within(perToken));
                sum += logprobs.get(i);
            }
            assertThat(sum).isEqualTo(c.get("sum").doubleValue(), within(inAll));
        }
    }

    /** Property: the tokenizer file means to the HF library what it meant in training. */
    @Test
    void tokenizerAndTemplate() {
        for (JsonNode c : expected.get("tokenizer")) {
            assertThat(model.tokenizer().encode(c.get("text").textValue(), false)).as(c.get("text").toString()).isEqualTo(TestData.ints(c.get("ids")));
        }
        for (JsonNode c : expected.get("chat_template")) {
            @SuppressWarnings("unchecked")
            List<Map<String, Object>> messages = new ObjectMapper().convertValue(c.get("messages"), List.class);
            String rendered = model.chatTemplate().orElseThrow().render(messages, null, true, Map.of());
            assertThat(rendered).isEqualTo(c.get("rendered").textValue());
            assertThat(model.tokenizer().encode(rendered, false)).isEqualTo(TestData.ints(c.get("ids")));
        }
    }

    /** Property: what is committed stays small enough to clone. */
    @Test
    void size() throws Exception {
        assertThat(Files.size(FOLDER.resolve("model.safetensors"))).isLessThan(16_000_000);
    }
}

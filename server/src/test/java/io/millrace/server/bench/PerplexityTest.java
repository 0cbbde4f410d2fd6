package io.millrace.server.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.millrace.engine.EngineConfig;
import io.millrace.engine.LoadedModel;
import io.millrace.engine.ModelLoader;
import io.millrace.scheduler.EngineLoop;
import io.millrace.scheduler.SchedulerConfig;
import io.millrace.scheduler.SchedulerListener;
import io.millrace.server.bench.Perplexity.Window;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PerplexityTest {
    private static final Path DEMO = Path.of("demo-model");
    private static final EngineConfig SETTINGS = EngineConfig.defaults().withLimits(0, 16, 512).withThreads(2);
    private static final EngineConfig EXACT = SETTINGS.withDtype("float32").withKvCache("float32", 2048);
    private static Perplexity.Result exact;

    /** Property: windows as documented: llama-perplexity's scores the second half of each, a stride scores every token after the first window once. */
    @Test
    void windows() {
        int[] ids = IntStream.range(0, 21).toArray();
        List<Window> halves = Perplexity.windows(ids, 8, 8, 99);
        assertThat(halves).hasSize(2).allMatch(window -> window.tokenIds()[0] == 99 && window.tokenIds().length == 8 && window.firstScored() == 5);
        assertThat(halves.get(1).tokenIds()).startsWith(99, 9, 10);
        List<Window> strided = Perplexity.windows(ids, 8, 3, -1);
        List<Integer> scored = new ArrayList<>();
        strided.forEach(window -> IntStream.range(window.firstScored(), 8).forEach(p -> scored.add(window.tokenIds()[p])));
        assertThat(scored).isEqualTo(IntStream.range(5, 20).boxed().toList());
        assertThat(Perplexity.windows(new int[] {1, 2, 3}, 8, 8, -1)).singleElement().satisfies(window -> assertThat(window.firstScored()).isEqualTo(2));
        assertThat(Perplexity.windows(new int[] {1}, 8, 8, -1)).isEmpty();
    }

    /** Property: the sums are turned into the figures by their definitions. */
    @Test
    void figures() {
        Perplexity.Result result = new Perplexity.Result(4, 8, 18, 10, 2);
        assertThat(result.perplexity()).isCloseTo(Math.exp(2), within(1e-12));
        assertThat(result.bitsPerByte()).isCloseTo(0.8 / Math.log(2), within(1e-12));
        assertThat(result.natsError()).isCloseTo(Math.sqrt((4.5 - 4) / 3), within(1e-12));
        assertThat(result.toMap()).containsEntry("scored_tokens_per_second", 2.0);
    }

    /**
     * Property: with exact arithmetic the held-out stories have the loss that the program which trained the model computed for the same
     * weights, to the digits it published (metrics.json), over the same number of tokens.
     */
    @Test
    void heldOutStoriesHaveTheirPublishedLoss() throws Exception {
        Perplexity.Result result = exact();
        assertThat(result.tokens()).isEqualTo(11_466);
        assertThat(result.natsPerToken()).isCloseTo(2.313, within(0.0005));
    }

    /** Property: what rounding costs on the held-out stories stays within half a percent of perplexity: products of 16 bits, a cache of 16 or 8. */
    @ParameterizedTest
    @CsvSource({"bfloat16, float32, 0.005", "float32, float16, 0.005", "float32, bfloat16, 0.005", "bfloat16, bfloat16, 0.005", "float32, q8_0, 0.005"})
    void roundingCostsLittle(String dtype, String kvCacheDtype, double bound) throws Exception {
        double exact = exact().perplexity();
        assertThat(demo(SETTINGS.withDtype(dtype).withKvCache(kvCacheDtype, 2048)).perplexity()).isCloseTo(exact, within(bound * exact));
    }

    /**
     * Property: what weights rounded at load cost on the held-out stories stays within half a percent of perplexity for 8 bits and five for 4.
     * The model's down projections are 704 wide, no multiple of 256: there q4_k takes the next format that fits.
     */
    @ParameterizedTest
    @CsvSource({"q8_0, 0.005", "q4_0, 0.05", "q4_k, 0.05"})
    void quantizationCostsLittle(String quantization, double bound) throws Exception {
        double perplexity = exact().perplexity();
        assertThat(demo(EXACT.withQuantization(quantization)).perplexity()).isCloseTo(perplexity, within(bound * perplexity));
    }

    /**
     * Property: GGUF files of one model in several formats differ in perplexity by no more than their rounding explains: half a percent for
     * 8 bits, 15 % for 4 bits of a model with 260,032 parameters (in larger ones errors average out).
     */
    @ParameterizedTest
    @CsvSource({"F16, 0.001", "Q8_0, 0.005", "Q4_0, 0.15"})
    void filesOfOneModelAgree(String format, double bound) throws Exception {
        Path folder = Path.of(System.getProperty("millrace.data", "data")).resolve("models/stories260K/gguf");
        Assumptions.assumeTrue(Files.isDirectory(folder), () -> "no test data at " + folder + "; set -Dmillrace.data");
        double exact = stories(folder, "F32").perplexity();
        assertThat(stories(folder, format).perplexity()).isCloseTo(exact, within(bound * exact));
    }

    private static Perplexity.Result stories(Path folder, String format) throws Exception {
        Path file;
        try (var files = Files.list(folder)) {
            file = files.filter(path -> path.getFileName().toString().toUpperCase(java.util.Locale.ROOT).endsWith(format + ".GGUF")).findFirst().orElseThrow();
        }
        String text = Files.readString(DEMO.resolve("heldout.txt")).replace("<|endoftext|>", "");
        return score(file, SETTINGS.withDtype("float32").withKvCache("float32", 2048),
                model -> Perplexity.windows(model.tokenizer().encode(text, false), 256, 256, 1));
    }

    /** The demo model without rounding beyond that of its weights' own type; computed once. */
    private static Perplexity.Result exact() throws Exception {
        if (exact == null) {
            exact = demo(EXACT);
        }
        return exact;
    }

    private static Perplexity.Result demo(EngineConfig settings) throws Exception {
        String[] stories = Files.readString(DEMO.resolve("heldout.txt")).split("\n<\\|endoftext\\|>\n");
        return score(DEMO, settings, model -> Arrays.stream(stories).map(story -> {
            int[] ids = model.tokenizer().encode(story.strip(), true);
            int[] withEnd = Arrays.copyOf(ids, ids.length + 1);
            withEnd[ids.length] = model.engine().limits().eosTokenIds()[0];
            return new Window(withEnd, 1);
        }).toList());
    }

    private static Perplexity.Result score(Path path, EngineConfig settings, java.util.function.Function<LoadedModel, List<Window>> windows)
            throws IOException, InterruptedException {
        try (LoadedModel model = ModelLoader.load(path, settings)) {
            EngineLoop loop = EngineLoop.start(model.engine(), new SchedulerConfig(16, 512, 512, 256), SchedulerListener.NONE);
            try {
                return Perplexity.score(loop, windows.apply(model), id -> model.tokenizer().bytes(id).length, done -> {});
            } finally {
                loop.shutdown(Duration.ofSeconds(10));
            }
        }
    }
}

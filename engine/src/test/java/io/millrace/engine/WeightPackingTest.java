package io.millrace.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.millrace.kernels.QuantFormat;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Weights that are packed after loading, between steps and by steps, give the bits that weights packed before the first step give; and
 * when all are packed nothing of the file is mapped any more.
 */
class WeightPackingTest {
    private static final EngineConfig SETTINGS = EngineConfig.defaults().withLimits(256, 2, 64).withKvCache("float32", 0).withThreads(2);
    private static final Path DEMO = Path.of("..", "server", "demo-model");

    @TempDir
    Path folder;

    @ParameterizedTest
    @ValueSource(strings = {"F32", "F16", "Q8_0", "Q4_0", "safetensors"})
    void storiesGiveTheSameBitsInAnyState(String format) {
        check(TestData.require(format.equals("safetensors") ? "models/stories260K/hf-bf16"
                : "models/stories260K/gguf/stories260K-" + format + ".gguf"));
    }

    /** Super-blocks, and a file that mixes formats. */
    @ParameterizedTest
    @ValueSource(strings = {"Q4_K", "Q6_K", "Q5_1"})
    void bundledModelGivesTheSameBitsInAnyState(QuantFormat format) throws IOException {
        check(GgufConversion.of(DEMO, format).write(folder.resolve("model.gguf")));
    }

    private static void check(Path model) {
        List<String> expected;
        try (ModelEngine engine = ModelLoader.loadEngine(model, SETTINGS).engine()) {
            assertThat(engine.bytesToPack()).as("left by loading").isPositive();
            engine.packAll();
            assertThat(engine.bytesToPack()).isZero();
            expected = run(engine, false);
        }
        try (ModelEngine engine = ModelLoader.loadEngine(model, SETTINGS).engine()) {
            assertThat(run(engine, false)).as("packed by steps alone").isEqualTo(expected);
            assertThat(engine.bytesToPack()).as("after enough steps").isZero();
            assertThat(engine.packSome()).isFalse();
        }
        try (ModelEngine engine = ModelLoader.loadEngine(model, SETTINGS).engine()) {
            assertThat(run(engine, true)).as("packed by and between steps").isEqualTo(expected);
        }
    }

    /** Tokens and log-probabilities of two prompts, one of several chunks, so that steps have one row, a few and many. */
    private static List<String> run(Engine engine, boolean packBetween) {
        List<String> seen = new ArrayList<>();
        List<int[]> prompts = List.of(IntStream.range(0, 100).map(i -> 3 + i * 7 % 400).toArray(), new int[] {1, 300, 5});
        SamplingParams sampling = SamplingParams.builder().temperature(0).maxTokens(24).numLogprobs(3).ignoreEos(true).build();
        new TextGenerator(engine).generate(prompts, sampling, (plan, result) -> {
            for (int i = 0; i < plan.size(); i++) {
                if (result.token(i) >= 0) {
                    seen.add(i + ": " + result.token(i) + " " + Float.floatToRawIntBits(result.logprob(result.sampledRow(i))));
                }
            }
            if (packBetween && seen.size() % 3 == 0) {
                engine.packSome();
            }
        });
        assertThat(seen).hasSizeGreaterThan(40);
        return seen;
    }

    @Test
    void fileIsUnmappedWhenAllIsPackedAndWhenTheEngineIsClosedBefore() throws IOException {
        assumeTrue(Files.exists(Path.of("/proc/self/maps")), "no /proc/self/maps");
        Path model = GgufConversion.of(DEMO, QuantFormat.Q8_0).write(folder.resolve("mapped.gguf"));
        try (ModelEngine engine = ModelLoader.loadEngine(model, SETTINGS).engine()) {
            assertThat(isMapped(model)).isTrue();
            engine.packAll();
            assertThat(isMapped(model)).isFalse();
        }
        try (ModelEngine engine = ModelLoader.loadEngine(model, SETTINGS).engine()) {
            assertThat(isMapped(model)).isTrue();
            run(engine, false);
            assertThat(isMapped(model)).as("after steps that packed the last").isFalse();
        }
        ModelLoader.loadEngine(model, SETTINGS).engine().close();
        assertThat(isMapped(model)).as("after an early end").isFalse();
    }

    /** Rounded at load: nothing is left to do, and the file is closed with loading. */
    @Test
    void roundedWeightsAndTheReferenceLeaveNothing() throws IOException {
        try (ModelEngine engine = ModelLoader.loadEngine(DEMO, SETTINGS.withQuantization("q8_0")).engine()) {
            assertThat(engine.bytesToPack()).isZero();
            assertThat(isMapped(DEMO.resolve("model.safetensors"))).isFalse();
        }
        try (ModelEngine engine = ModelLoader.loadEngine(DEMO, SETTINGS.withBackend("reference")).engine()) {
            assertThat(engine.bytesToPack()).isZero();
            assertThat(isMapped(DEMO.resolve("model.safetensors"))).isFalse();
        }
    }

    private static boolean isMapped(Path file) throws IOException {
        Path maps = Path.of("/proc/self/maps");
        String name = file.toRealPath().toString();
        return Files.exists(maps) && Files.readAllLines(maps).stream().anyMatch(line -> line.endsWith(name));
    }
}

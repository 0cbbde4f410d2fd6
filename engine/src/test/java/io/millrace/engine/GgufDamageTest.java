package io.millrace.engine;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.management.ThreadMXBean;
import io.millrace.engine.weights.GgufBytes;
import io.millrace.engine.weights.GgufMutator;
import io.millrace.engine.weights.GgufMutator.Damage;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Damaged GGUF files of every architecture through header, configuration, tokenizer, chat template, loading and a few tokens. Property: each
 * is a model that answers or an {@link EngineException} with a code; nothing else comes out, nothing takes long, nothing takes much memory,
 * and the process lives. {@code -Dmillrace.damage.rounds=N} makes the sweep longer, {@code -Dmillrace.damage.seed} another one.
 */
class GgufDamageTest {
    private static final int ROUNDS = Integer.getInteger("millrace.damage.rounds", 260);
    private static final long SEED = Long.getLong("millrace.damage.seed", 20_261_122L);
    private static final EngineConfig SETTINGS = EngineConfig.defaults().withLimits(16, 2, 16).withKvCache("float32", 4).withThreads(1);
    private static final Duration TIME_LIMIT = Duration.ofSeconds(20);
    /** Heap that a case may take in all: the vocabulary's objects and the JSON that the tokenizer is made from, not what a number claims. */
    private static final long HEAP_LIMIT = 64L << 20;

    @TempDir
    Path folder;

    static Stream<String> checkpoints() {
        return Stream.of("stories260K-Q8_0", "llama-rope3-a", "qwen2-swa-a", "qwen3-a", "gemma2-a", "gemma3-v5cfg-a", "phi3-longrope-a", "granite-a",
                "smollm3-a");
    }

    private static byte[] sound(String name) throws IOException {
        if (name.startsWith("stories")) {
            return Files.readAllBytes(TestData.require("models/stories260K/gguf/" + name + ".gguf"));
        }
        GgufBytes gguf = GgufConversion.of(TestData.require("golden/" + name));
        return TinyVocabulary.addTo(gguf, name.startsWith("qwen") || name.startsWith("granite")).toBytes();
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("checkpoints")
    void damagedFilesGiveAnErrorOrAModel(String name) throws IOException {
        byte[] sound = sound(name);
        GgufMutator mutator = new GgufMutator(sound);
        assertThat(outcome(new Damage(sound, "sound"))).isEqualTo("model");
        Map<String, Integer> outcomes = new TreeMap<>();
        int cuts = mutator.numCuts();
        Stream<Damage> damages = Stream.concat(IntStream.range(0, Math.min(cuts, ROUNDS / 2)).map(i -> (int) ((long) i * cuts / Math.min(cuts, ROUNDS / 2)))
                .mapToObj(mutator::cut), IntStream.range(0, ROUNDS).mapToObj(i -> mutator.damage(SEED + i)));
        damages.forEach(damage -> outcomes.merge(outcome(damage), 1, Integer::sum));
        System.out.printf("%-18s %s%n", name, outcomes);
        assertThat(outcomes.keySet()).as("some are refused").anyMatch(outcome -> outcome.startsWith("GGUF-"));
        assertThat(outcomes).as("some still answer").containsKey("model");
    }

    /** The error's code, or {@code model}. */
    private String outcome(Damage damage) {
        FutureTask<String> task = new FutureTask<>(() -> {
            ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
            long before = threads.getCurrentThreadAllocatedBytes();
            String outcome = load(Files.write(folder.resolve("model.gguf"), damage.bytes()));
            assertThat(threads.getCurrentThreadAllocatedBytes() - before).as("heap taken by %s", damage.what()).isLessThan(HEAP_LIMIT);
            return outcome;
        });
        Thread.ofPlatform().daemon().start(task);
        try {
            return task.get(TIME_LIMIT.toSeconds(), TimeUnit.SECONDS);
        } catch (ExecutionException e) {
            throw new AssertionError(damage.what() + " gives " + e.getCause(), e.getCause());
        } catch (TimeoutException e) {
            throw new AssertionError(damage.what() + " takes more than " + TIME_LIMIT, e);
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    private static String load(Path file) {
        try (LoadedModel model = ModelLoader.load(file, SETTINGS)) {
            int[] prompt = model.tokenizer().encode("ab a\n\u00e9 12", true);
            int vocabulary = model.engine().limits().vocabSize();
            int[] ids = IntStream.of(prompt).filter(id -> id < vocabulary).limit(8).toArray();
            SamplingParams greedy = SamplingParams.builder().temperature(0).maxTokens(3).ignoreEos(true).build();
            List<int[]> out = new TextGenerator(model.engine()).generate(List.of(ids.length == 0 ? new int[] {0} : ids), greedy,
                    TextGenerator.StepListener.NONE);
            model.tokenizer().decode(out.getFirst(), false);
            return "model";
        } catch (EngineException e) {
            assertThat(e.code()).matches("[A-Z]+-\\d{3}");
            return e.code();
        } catch (UncheckedIOException e) {
            throw new AssertionError(e);
        }
    }
}

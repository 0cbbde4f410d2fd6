package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.engine.EngineConfig;
import io.millrace.engine.LoadedModel;
import io.millrace.engine.ModelLoader;
import io.millrace.engine.SamplingParams;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * Property: over native kernels and real weights, what is written with shared prefixes is what is written without, token by token: common
 * openings, second turns, several choices, greedy and drawn, side by side in a cache so small that sequences are preempted and prefixes
 * forgotten. Nothing is "close": kernels are batch-invariant, so a shared block holds the very bits that would have been computed.
 */
@Timeout(120)
class PrefixSharingRealModelTest {
    private record Prompt(int[] ids, SamplingParams sampling, int n) {}

    private record Answer(int[] tokens, int numCachedTokens) {}

    @Test
    void bundledModel() throws Exception {
        compare(Path.of("..", "server", "demo-model"), "bfloat16");
    }

    @Test
    void stories260K() throws Exception {
        Path folder = Path.of(System.getProperty("millrace.data", "data")).resolve("models/stories260K/hf-fp32");
        Assumptions.assumeTrue(Files.exists(folder), () -> "no test data at " + folder + "; set -Dmillrace.data");
        compare(folder, "float32");
    }

    private static void compare(Path folder, String kvType) throws Exception {
        List<Answer> alone;
        List<Answer> shared;
        List<Prompt> prompts;
        long preemptions;
        try (LoadedModel model = ModelLoader.load(folder, EngineConfig.defaults().withLimits(384, 8, 0).withKvCache(kvType, 28).withThreads(2))) {
            prompts = prompts(model);
            try (EngineLoop loop = EngineLoop.start(model.engine(), new SchedulerConfig(8, 256, 48, 1000, true), SchedulerListener.NONE)) {
                shared = answers(loop, prompts, 1000);
                loop.checkIntegrity();
                preemptions = loop.status().numPreemptions();
            }
        }
        // Again from nothing: one at a time, prompts in one piece, nothing kept.
        try (LoadedModel model = ModelLoader.load(folder, EngineConfig.defaults().withLimits(384, 8, 0).withKvCache(kvType, 28).withThreads(1));
                EngineLoop loop = EngineLoop.start(model.engine(), new SchedulerConfig(8, 384, 384, 1000, false), SchedulerListener.NONE)) {
            alone = answers(loop, prompts.stream().flatMap(PrefixSharingRealModelTest::single).toList(), 1);
        }
        assertThat(shared).hasSameSizeAs(alone);
        int found = 0;
        for (int i = 0; i < alone.size(); i++) {
            assertThat(shared.get(i).tokens).as("answer %d", i).isEqualTo(alone.get(i).tokens);
            assertThat(alone.get(i).numCachedTokens).isZero();
            found += shared.get(i).numCachedTokens;
        }
        assertThat(found).isGreaterThan(500);
        assertThat(preemptions).isPositive();
        System.out.printf("%s: %d answers equal, %d prompt tokens found, %d preemptions%n", folder.getFileName(), alone.size(), found, preemptions);
    }

    private static java.util.stream.Stream<Prompt> single(Prompt prompt) {
        List<Prompt> choices = new ArrayList<>();
        for (int i = 0; i < prompt.n; i++) {
            choices.add(new Prompt(prompt.ids, choice(prompt.sampling, i), 1));
        }
        return choices.stream();
    }

    private static SamplingParams choice(SamplingParams s, int i) {
        return SamplingParams.builder().temperature(s.temperature()).topP(s.topP()).seed(s.seed() + i).maxTokens(s.maxTokens())
                .repetitionPenalty(s.repetitionPenalty()).ignoreEos(true).build();
    }

    private static List<Prompt> prompts(LoadedModel model) {
        Random random = new Random(5);
        int[] opening = model.tokenizer().encode("Once upon a time, there was a little girl named Lily. She loved to play outside in the "
                + "park with her dog Max. One day, Lily saw a big, red ball in the sky. It was the sun! She thought it was so pretty. Max wanted to "
                + "play with the ball, but it was too high up in the sky. Lily asked her mom for help. ", true);
        List<Prompt> prompts = new ArrayList<>();
        String[] turns = {"Then", "But the dog", "Her mom said yes, and", "Lily was sad because", "Then", "The sun"};
        int[] text = opening;
        for (int i = 0; i < 24; i++) {
            int[] turn = model.tokenizer().encode(turns[i % turns.length], false);
            int[] base = i % 4 == 3 ? Arrays.copyOf(opening, 20 + random.nextInt(opening.length - 20)) : text;
            int[] ids = Arrays.copyOf(base, Math.min(300, base.length + turn.length));
            System.arraycopy(turn, 0, ids, base.length, ids.length - base.length);
            SamplingParams sampling = SamplingParams.builder().temperature(i % 3 == 0 ? 0f : 0.9f).topP(0.95f).seed(100L * i)
                    .repetitionPenalty(i % 5 == 0 ? 1.1f : 1f).maxTokens(20 + random.nextInt(50)).ignoreEos(true).build();
            prompts.add(new Prompt(ids, sampling, i % 6 == 5 ? 3 : 1));
            text = i % 8 == 7 ? opening : ids;
        }
        return prompts;
    }

    private static List<Answer> answers(EngineLoop loop, List<Prompt> prompts, int atOnce) throws Exception {
        List<RequestHandle> handles = new ArrayList<>();
        List<RecordingSink> sinks = new ArrayList<>();
        for (Prompt prompt : prompts) {
            List<GenerationRequest> choices = new ArrayList<>();
            for (int i = 0; i < prompt.n; i++) {
                RecordingSink sink = new RecordingSink();
                sinks.add(sink);
                choices.add(new GenerationRequest(prompt.ids, choice(prompt.sampling, i), sink));
            }
            handles.addAll(loop.submitAll(choices));
            if (sinks.size() >= atOnce) {
                assertThat(sinks.get(sinks.size() - atOnce).awaitEnd()).isTrue();
            }
        }
        List<Answer> answers = new ArrayList<>();
        for (int i = 0; i < sinks.size(); i++) {
            assertThat(sinks.get(i).awaitEnd()).isTrue();
            assertThat(sinks.get(i).reason).as(sinks.get(i).message).isEqualTo(FinishReason.LENGTH);
            answers.add(new Answer(sinks.get(i).tokens(), handles.get(i).numCachedTokens()));
        }
        return answers;
    }
}

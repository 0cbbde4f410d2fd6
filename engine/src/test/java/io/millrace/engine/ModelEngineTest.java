package io.millrace.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The engine over a real model: what a sequence gets depends on that sequence alone, and a step costs the heap nothing. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class ModelEngineTest {
    private static final int EOS = 2;

    private final Map<String, ModelEngine> engines = new HashMap<>();

    static Stream<String> backends() {
        return TestBackends.names();
    }

    @AfterAll
    void closeEngines() {
        engines.values().forEach(ModelEngine::close);
    }

    private ModelEngine engine(String backend) {
        return engines.computeIfAbsent(backend, name -> ModelLoader.loadEngine(TestData.require("models/stories260K/hf-fp32"),
                EngineConfig.defaults().withBackend(name).withLimits(256, 16, 0).withThreads(2)).engine());
    }

    /** Property: the same tokens and log-probabilities when 1, 4 or 16 sequences run at once, in any order, with any prompt chunk; greedy and sampled. */
    @ParameterizedTest(name = "{0}")
    @MethodSource("backends")
    void outputDoesNotDependOnCompany(String backend) {
        ModelEngine engine = engine(backend);
        Random random = new Random(3);
        List<int[]> prompts = IntStream.range(0, 16).mapToObj(i -> random.ints(1 + random.nextInt(40), 3, 512).toArray()).toList();
        for (SamplingParams sampling : List.of(SamplingParams.greedy(20),
                SamplingParams.builder().temperature(1.2f).topK(50).topP(0.9f).seed(77).maxTokens(20).build())) {
            List<int[]> alone = prompts.stream().map(prompt -> run(engine, List.of(prompt), sampling, 512).getFirst()).toList();
            List<Integer> order = new ArrayList<>(IntStream.range(0, 16).boxed().toList());
            for (int together : new int[] {4, 16}) {
                Collections.shuffle(order, random);
                for (int start = 0; start < 16; start += together) {
                    List<Integer> group = order.subList(start, start + together);
                    List<int[]> outputs = run(engine, group.stream().map(prompts::get).toList(), sampling, together == 4 ? 7 : 16);
                    for (int i = 0; i < together; i++) {
                        assertThat(outputs.get(i)).as("%d together, prompt %d", together, group.get(i)).isEqualTo(alone.get(group.get(i)));
                    }
                }
            }
        }
    }

    /** Property: until min_tokens were produced, neither the model's eos ids nor the request's stop ids appear, however strongly biased. */
    @ParameterizedTest(name = "{0}")
    @MethodSource("backends")
    void minTokensSuppressesEnds(String backend) {
        SamplingParams.Builder wantsToStop = SamplingParams.builder().temperature(0).maxTokens(30).stopTokenIds(400)
                .bias(new int[] {EOS, 400}, new float[] {200, 100});
        assertThat(run(engine(backend), List.of(new int[] {1, 403}), wantsToStop.build(), 512).getFirst()).containsExactly(EOS);
        int[] output = run(engine(backend), List.of(new int[] {1, 403}), wantsToStop.minTokens(9).build(), 512).getFirst();
        assertThat(output).hasSize(10).endsWith(EOS);
        assertThat(Arrays.copyOf(output, 9)).doesNotContain(EOS, 1, 400);
    }

    /** Property: a presence penalty that outweighs every logit makes all output tokens differ, across steps; prompt tokens stay allowed. */
    @ParameterizedTest(name = "{0}")
    @MethodSource("backends")
    void penaltiesSeeTheWholeOutput(String backend) {
        SamplingParams sampling = SamplingParams.builder().temperature(0).maxTokens(60).ignoreEos(true).presencePenalty(1000f).build();
        int[] output = run(engine(backend), List.of(new int[] {1, 403, 407, 261}), sampling, 2).getFirst();
        assertThat(Arrays.stream(output).distinct().count()).isEqualTo(60);
        SamplingParams repetition = SamplingParams.builder().temperature(0).maxTokens(40).ignoreEos(true).repetitionPenalty(1e9f).build();
        int[] fresh = run(engine(backend), List.of(new int[] {1, 403, 407, 261}), repetition, 512).getFirst();
        assertThat(fresh).doesNotContain(403, 407, 261);
    }

    /** Property: scoring a greedy output as a prompt gives every token the rank and log-probability it was drawn with, in any chunks. */
    @ParameterizedTest(name = "{0}")
    @MethodSource("backends")
    void scoringAgreesWithDrawing(String backend) {
        ModelEngine engine = engine(backend);
        List<Float> drawn = new ArrayList<>();
        SamplingParams sampling = SamplingParams.builder().temperature(0).maxTokens(30).ignoreEos(true).numLogprobs(0).build();
        int[] output = new TextGenerator(engine).generate(List.of(new int[] {1}), sampling,
                (plan, result) -> drawn.add(result.logprob(result.sampledRow(0)))).getFirst();
        int[] text = IntStream.concat(IntStream.of(1), Arrays.stream(output)).toArray();
        SamplingParams score = SamplingParams.builder().temperature(0).maxTokens(0).numPromptLogprobs(3).build();
        for (int chunk : new int[] {1, 5, 512}) {
            List<Float> scored = new ArrayList<>();
            new TextGenerator(engine, chunk).generate(List.of(text), score, (plan, result) -> {
                for (int k = 0; k < result.numScoredRows(0); k++) {
                    int row = result.firstScoredRow(0) + k;
                    assertThat(result.rowToken(row)).isEqualTo(text[plan.firstPosition(0) + 1 + k]).isEqualTo(result.topId(row, 0));
                    assertThat(result.rank(row)).isEqualTo(1);
                    assertThat(result.numTop(row)).isEqualTo(3);
                    assertThat(result.topLogprob(row, 0)).isEqualTo(result.logprob(row), within(0f)).isGreaterThan(result.topLogprob(row, 2));
                    scored.add(result.logprob(row));
                }
            });
            assertThat(scored).as("chunks of %d", chunk).isEqualTo(drawn);
        }
    }

    /** Property: ids that would read outside native memory are refused in words, and the engine goes on. */
    @ParameterizedTest(name = "{0}")
    @MethodSource("backends")
    void wrongIdsAreRefused(String backend) {
        ModelEngine engine = engine(backend);
        for (int id : new int[] {-1, 512, Integer.MAX_VALUE}) {
            assertThatThrownBy(() -> engine.begin(new Sequence(1, new int[] {id}, SamplingParams.greedy(1), 16))).hasMessageStartingWith("SEQ-001:")
                    .hasMessageContaining("vocabulary [0, 512)");
            SamplingParams biased = SamplingParams.builder().bias(new int[] {id}, new float[] {1}).build();
            assertThatThrownBy(() -> engine.begin(new Sequence(1, new int[] {1}, biased, 16))).hasMessageStartingWith("SEQ-001:");
        }
        Sequence sequence = new Sequence(2, new int[] {1, 2, 3}, SamplingParams.greedy(1), 16);
        StepPlan plan = new StepPlan(16);
        plan.add(sequence, 0, 3, false);
        sequence.appendBlock(engine.limits().numBlocks());
        assertThatThrownBy(() -> engine.execute(plan)).hasMessageStartingWith("STEP-001:").hasMessageContaining("outside [0, ");
        sequence.truncateBlocks(0);
        assertThatThrownBy(() -> engine.execute(plan)).hasMessageStartingWith("STEP-001:").hasMessageContaining("0 blocks");
        sequence.appendBlock(0);
        assertThatThrownBy(() -> engine.execute(plan)).hasMessageStartingWith("SEQ-002:");
        engine.begin(sequence);
        assertThat(engine.execute(plan).token(0)).isBetween(0, 511);
        engine.end(sequence);
    }

    /** Property: 200 decode steps of 8 sequences, with sampling, penalties, bias and log-probabilities on, allocate not one byte of heap, once warm. */
    @Test
    void stepsAllocateNothing() {
        ModelEngine engine = engine("cpu");
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        // The JVM itself allocates on this thread while it links and compiles: method handles are specialised after 127 calls, loops later.
        // That ends, sooner or later by the machine's load; an allocation of the step's own is in every round.
        long allocated = -1;
        long deadline = System.nanoTime() + 30_000_000_000L;
        while (allocated != 0 && System.nanoTime() < deadline) {
            StepPlan plan = new StepPlan(8);
            List<Sequence> sequences = beginEight(engine, plan);
            settle(plan, engine.execute(plan));
            decode(engine, plan, sequences, 20);
            long before = threads.getCurrentThreadAllocatedBytes();
            decode(engine, plan, sequences, 200);
            allocated = threads.getCurrentThreadAllocatedBytes() - before;
            sequences.forEach(engine::end);
        }
        assertThat(allocated).as("bytes allocated in 200 steps").isZero();
    }

    /** Property: the same where each step is submitted while the one before runs, on the thread that submits and the one that runs them. */
    @Test
    void overlappedStepsAllocateNothing() {
        ModelEngine engine = engine("cpu");
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        long allocated = -1;
        long deadline = System.nanoTime() + 30_000_000_000L;
        while (allocated != 0 && System.nanoTime() < deadline) {
            StepPlan[] plans = {new StepPlan(8), new StepPlan(8)};
            List<Sequence> sequences = beginEight(engine, plans[0]);
            long first = engine.submit(plans[0]);
            decodeOverlapped(engine, plans, sequences, first, 0, 20);
            long[] both = {Thread.currentThread().threadId(), engine.runnerThreadId()};
            long before = threads.getThreadAllocatedBytes(both[0]) + threads.getThreadAllocatedBytes(both[1]);
            decodeOverlapped(engine, plans, sequences, first, 20, 220);
            allocated = threads.getThreadAllocatedBytes(both[0]) + threads.getThreadAllocatedBytes(both[1]) - before;
            settle(plans[0], engine.await(first + 220));
            sequences.forEach(engine::end);
        }
        assertThat(allocated).as("bytes allocated in 200 steps").isZero();
    }

    /** Submits steps {@code (from, to]} counted from the first, each before the one in front of it is awaited. */
    private static void decodeOverlapped(Engine engine, StepPlan[] plans, List<Sequence> sequences, long first, int from, int to) {
        for (int step = from + 1; step <= to; step++) {
            StepPlan plan = plans[step & 1];
            plan.clear(step);
            for (int i = 0; i < sequences.size(); i++) {
                Sequence sequence = sequences.get(i);
                plan.add(sequence, sequence.numTokens(), 1, false, i);
            }
            engine.submit(plan);
            settle(plans[step - 1 & 1], engine.await(first + step - 1));
        }
    }

    private static List<Sequence> beginEight(Engine engine, StepPlan plan) {
        SamplingParams sampling = SamplingParams.builder().temperature(0.8f).topP(0.9f).seed(5).maxTokens(240).minTokens(240)
                .frequencyPenalty(0.1f).bias(new int[] {7}, new float[] {-1}).numLogprobs(3).build();
        List<Sequence> sequences = new ArrayList<>();
        for (int s = 0; s < 8; s++) {
            Sequence sequence = new Sequence(s, new int[] {1, 403 + s}, sampling, 16);
            for (int j = 0; j < 16; j++) {
                sequence.appendBlock(16 * s + j);
            }
            engine.begin(sequence);
            sequences.add(sequence);
            plan.add(sequence, 0, 2, false);
        }
        return sequences;
    }

    private static void decode(Engine engine, StepPlan plan, List<Sequence> sequences, int steps) {
        for (int step = 0; step < steps; step++) {
            plan.clear(step);
            for (int i = 0; i < sequences.size(); i++) {
                Sequence sequence = sequences.get(i);
                plan.add(sequence, sequence.numTokens() - 1, 1, false);
            }
            settle(plan, engine.execute(plan));
        }
    }

    private static void settle(StepPlan plan, StepResult result) {
        for (int i = 0; i < plan.size(); i++) {
            plan.sequence(i).append(result.token(i));
        }
    }

    private static List<int[]> run(Engine engine, List<int[]> prompts, SamplingParams sampling, int chunk) {
        return new TextGenerator(engine, chunk).generate(prompts, sampling, TextGenerator.StepListener.NONE);
    }
}

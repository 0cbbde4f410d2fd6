package io.millrace.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Property: with two steps under way, where a step takes its tokens from the one before, a real model says what it says step by step. */
@Timeout(120)
class OverlappedEngineTest {
    private static final int OUTPUT = 24;

    static Stream<String> backends() {
        return TestBackends.names();
    }

    private static ModelEngine engine(String backend) {
        return ModelLoader.loadEngine(TestData.require("models/stories260K/hf-fp32"),
                EngineConfig.defaults().withBackend(backend).withLimits(256, 16, 0).withThreads(2)).engine();
    }

    /** All that depends on the token drawn last: penalties (its history is completed on the device), draws by position, minimum lengths. */
    private static List<SamplingParams> variants() {
        return List.of(SamplingParams.builder().temperature(0).maxTokens(OUTPUT).ignoreEos(true).numLogprobs(3).build(),
                SamplingParams.builder().temperature(1.1f).topK(60).topP(0.9f).seed(5).maxTokens(OUTPUT).ignoreEos(true).numLogprobs(2).build(),
                SamplingParams.builder().temperature(0).presencePenalty(1000f).maxTokens(OUTPUT).ignoreEos(true).build(),
                SamplingParams.builder().temperature(0.9f).seed(9).repetitionPenalty(1.3f).frequencyPenalty(0.7f).maxTokens(OUTPUT)
                        .minTokens(OUTPUT).bias(new int[] {7, 2}, new float[] {3, 5}).numLogprobs(1).build());
    }

    private static List<Sequence> sequences(ModelEngine engine) {
        Random random = new Random(4);
        List<Sequence> sequences = new ArrayList<>();
        int block = 0;
        for (SamplingParams sampling : variants()) {
            for (int i = 0; i < 2; i++) {
                Sequence sequence = new Sequence(sequences.size(), random.ints(1 + random.nextInt(30), 3, 512).toArray(), sampling, 16);
                for (int needed = (sequence.numPromptTokens() + OUTPUT + 15) / 16; needed > 0; needed--) {
                    sequence.appendBlock(block++);
                }
                engine.begin(sequence);
                sequences.add(sequence);
            }
        }
        return sequences;
    }

    private static void record(StepPlan plan, StepResult result, List<String> log) {
        for (int i = 0; i < plan.size(); i++) {
            int row = result.sampledRow(i);
            StringBuilder line = new StringBuilder().append(plan.sequence(i).id()).append(": ").append(result.token(i)).append(' ')
                    .append(result.logprob(row)).append(' ').append(result.rank(row));
            for (int k = 0; k < result.numTop(row); k++) {
                line.append(' ').append(result.topId(row, k)).append('=').append(result.topLogprob(row, k));
            }
            log.add(line.toString());
            plan.sequence(i).append(result.token(i));
        }
    }

    private static List<String> stepByStep(ModelEngine engine) {
        List<Sequence> sequences = sequences(engine);
        List<String> log = new ArrayList<>();
        StepPlan plan = new StepPlan(16);
        for (int step = 0; step < OUTPUT; step++) {
            plan.clear(step);
            for (Sequence s : sequences) {
                int first = step == 0 ? 0 : s.numTokens() - 1;
                plan.add(s, first, s.numTokens() - first, false);
            }
            record(plan, engine.execute(plan), log);
        }
        sequences.forEach(engine::end);
        return log;
    }

    private static List<String> overlapped(ModelEngine engine) {
        List<Sequence> sequences = sequences(engine);
        List<String> log = new ArrayList<>();
        StepPlan[] plans = {new StepPlan(16), new StepPlan(16)};
        long[] tickets = new long[2];
        for (int step = 0; step <= OUTPUT; step++) {
            if (step < OUTPUT) {
                StepPlan plan = plans[step & 1];
                plan.clear(step);
                for (int i = 0; i < sequences.size(); i++) {
                    Sequence s = sequences.get(i);
                    if (step == 0) {
                        plan.add(s, 0, s.numPromptTokens(), false);
                    } else {
                        // Its last token is known to the step under way only.
                        plan.add(s, s.numTokens(), 1, false, i);
                    }
                }
                tickets[step & 1] = engine.submit(plan);
            }
            if (step > 0) {
                record(plans[step - 1 & 1], engine.await(tickets[step - 1 & 1]), log);
            }
        }
        sequences.forEach(engine::end);
        return log;
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("backends")
    void tokensAndLogProbabilitiesAreTheSame(String backend) {
        try (ModelEngine engine = engine(backend)) {
            List<String> expected = stepByStep(engine);
            assertThat(overlapped(engine)).hasSize(8 * OUTPUT).isEqualTo(expected);
            assertThat(overlapped(engine)).as("and again").isEqualTo(expected);
            assertThat(stepByStep(engine)).as("and step by step after it").isEqualTo(expected);
        }
    }

    /** A step that fails on the runner's thread is told to whoever awaits it, and fails those behind it. */
    @Test
    void aFailedStepIsTold() {
        int[] runs = {0};
        try (StepRunner runner = new StepRunner(slot -> {
            if (++runs[0] == 2) {
                throw new EngineException("STEP-009", "a test failure");
            }
        })) {
            long first = runner.submit();
            assertThat(runner.await(first)).isZero();
            long second = runner.submit();
            long third = runner.submit();
            assertThatThrownBy(() -> runner.await(second)).hasMessageContaining("a test failure");
            assertThatThrownBy(() -> runner.await(third)).hasMessageContaining("a test failure");
            assertThat(runs[0]).isEqualTo(2);
        }
    }

    /** No wake-up is lost between the two threads, whichever of them is faster. */
    @Test
    void everyStepIsRunOnceInOrder() {
        List<Integer> slots = new ArrayList<>();
        Random random = new Random(1);
        try (StepRunner runner = new StepRunner(slots::add)) {
            long awaited = 0;
            for (int i = 0; i < 200_000; i++) {
                long ticket = runner.submit();
                if (ticket - awaited >= 1) {
                    runner.await(awaited++);
                }
                if (random.nextInt(20_000) == 0) {
                    // Long enough for the runner to park.
                    java.util.concurrent.locks.LockSupport.parkNanos(2_000_000);
                }
            }
            runner.await(awaited);
        }
        assertThat(slots).hasSize(200_000);
        for (int i = 0; i < slots.size(); i++) {
            assertThat(slots.get(i)).isEqualTo(i & 1);
        }
    }
}

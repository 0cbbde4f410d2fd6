package io.millrace.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.millrace.engine.TextGenerator.StepListener;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Generation without a scheduler, over the engine that checks every block and position. */
class TextGeneratorTest {
    /** Property: more prompts than fit at once run in waves; each gets the output it would get alone, and every sequence is ended. */
    @Test
    void waves() {
        for (int chunk : new int[] {1, 5, 256}) {
            FakeEngine engine = FakeEngine.builder().blocks(11, 4).maxNumSeqs(3).maxNumBatchedTokens(13).eosPermille(50).build();
            SamplingParams sampling = SamplingParams.greedy(9);
            List<int[]> prompts = IntStream.range(0, 10).mapToObj(i -> IntStream.range(3, 4 + i).toArray()).toList();
            List<int[]> outputs = new TextGenerator(engine, chunk).generate(prompts, sampling, StepListener.NONE);
            for (int i = 0; i < prompts.size(); i++) {
                assertThat(outputs.get(i)).as("prompt %d in chunks of %d", i, chunk).isEqualTo(engine.expectedTokens(prompts.get(i), sampling));
            }
            assertThat(engine.numLive()).isZero();
        }
    }

    /** Property: scoring keeps within the engine's logit rows and reports every prompt token but the first, once, in order. */
    @Test
    void scoringInFewRows() {
        FakeEngine engine = FakeEngine.builder().maxNumSeqs(2).maxLogitRows(4).build();
        int[] prompt = IntStream.range(10, 40).toArray();
        List<Integer> scored = new ArrayList<>();
        SamplingParams sampling = SamplingParams.builder().temperature(0).maxTokens(0).numPromptLogprobs(0).build();
        List<int[]> outputs = new TextGenerator(engine).generate(List.of(prompt), sampling, (plan, result) -> {
            for (int k = 0; k < result.numScoredRows(0); k++) {
                scored.add(result.rowToken(result.firstScoredRow(0) + k));
            }
        });
        assertThat(scored).isEqualTo(IntStream.range(11, 40).boxed().toList());
        assertThat(outputs.getFirst()).isEmpty();
    }

    /** Property: a prompt that leaves no room is refused before anything runs; one that leaves room for one token gives one. */
    @Test
    void contextLimit() {
        FakeEngine engine = FakeEngine.builder().maxModelLen(32).build();
        TextGenerator generator = new TextGenerator(engine);
        assertThatThrownBy(() -> generator.generate(List.of(new int[32]), SamplingParams.greedy(1), StepListener.NONE))
                .isInstanceOf(EngineException.class).hasMessageStartingWith("GEN-001:");
        assertThat(engine.numSteps()).isZero();
        assertThat(generator.generate(List.of(new int[31]), SamplingParams.greedy(9), StepListener.NONE).getFirst()).hasSize(1);
    }

    /** Property: a failing step ends every sequence of the wave. */
    @Test
    void failureEndsSequences() {
        FakeEngine engine = FakeEngine.builder().hook(plan -> {
            if (plan.stepId() == 2) {
                throw new EngineException("STEP-001", "injected");
            }
        }).build();
        assertThatThrownBy(() -> new TextGenerator(engine).generate(List.of(new int[] {5}), SamplingParams.greedy(9), StepListener.NONE))
                .hasMessageContaining("injected");
        assertThat(engine.numLive()).isZero();
    }
}

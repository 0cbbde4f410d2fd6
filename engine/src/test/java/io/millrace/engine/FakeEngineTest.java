package io.millrace.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import org.junit.jupiter.api.Test;

/** The test double must notice the scheduling mistakes it exists for. */
class FakeEngineTest {
    private static final int[] PROMPT = {5, 6, 7, 8, 9, 10};

    /** Property: chunking and batch composition do not change the output, and it equals expectedTokens. */
    @Test
    void outputDoesNotDependOnChunks() {
        for (int chunk : new int[] {1, 2, 4, 6}) {
            FakeEngine engine = FakeEngine.builder().blocks(8, 4).build();
            Sequence sequence = begin(engine, 1, 0, 1, 2);
            StepPlan plan = new StepPlan(8);
            StepResult result = null;
            for (int p = 0; p < PROMPT.length; p += chunk) {
                plan.clear(p);
                plan.add(sequence, p, Math.min(chunk, PROMPT.length - p), false);
                result = engine.execute(plan);
            }
            for (int i = 0; i < 5; i++) {
                sequence.append(result.token(0));
                plan.clear(i);
                plan.add(sequence, sequence.numTokens() - 1, 1, false);
                result = engine.execute(plan);
            }
            assertThat(Arrays.copyOfRange(sequence.tokenIds(), PROMPT.length, sequence.numTokens()))
                    .isEqualTo(engine.expectedTokens(PROMPT, SamplingParams.greedy(5)));
        }
    }

    /** Property: attending to slots that were never computed is an error. */
    @Test
    void skippedTokensAreNoticed() {
        FakeEngine engine = FakeEngine.builder().blocks(8, 4).build();
        Sequence sequence = begin(engine, 1, 0, 1);
        StepPlan plan = new StepPlan(8);
        plan.add(sequence, 4, 2, false);
        assertThatThrownBy(() -> engine.execute(plan)).hasMessageContaining("position 0 in block 0 was never computed");
    }

    /** Property: a block used by two sequences with different prefixes is an error, in the step in which it happens. */
    @Test
    void sharedBlockIsNoticed() {
        FakeEngine engine = FakeEngine.builder().blocks(8, 4).build();
        Sequence first = begin(engine, 1, 0, 1);
        Sequence second = new Sequence(2, new int[] {50, 51}, SamplingParams.greedy(5), 4);
        second.appendBlock(1);
        engine.begin(second);
        StepPlan plan = new StepPlan(8);
        plan.add(first, 0, 6, false);
        plan.add(second, 0, 2, false);
        assertThatThrownBy(() -> engine.execute(plan)).hasMessageContaining("holds another prefix");
    }

    /** Property: rows follow the contract of StepResult: scored prompt rows first, then the sampled row. */
    @Test
    void scoredRowsFollowTheContract() {
        FakeEngine engine = FakeEngine.builder().blocks(8, 4).build();
        Sequence sequence = begin(engine, 1, 0, 1);
        StepPlan plan = new StepPlan(8);
        plan.add(sequence, 0, 6, true);
        StepResult result = engine.execute(plan);
        assertThat(result.numScoredRows(0)).isEqualTo(5);
        assertThat(result.rowToken(result.firstScoredRow(0))).isEqualTo(PROMPT[1]);
        assertThat(result.sampledRow(0)).isEqualTo(5);
        assertThat(result.rowToken(5)).isEqualTo(result.token(0));
    }

    private static Sequence begin(FakeEngine engine, long id, int... blocks) {
        Sequence sequence = new Sequence(id, PROMPT, SamplingParams.greedy(5), 4);
        for (int block : blocks) {
            sequence.appendBlock(block);
        }
        engine.begin(sequence);
        return sequence;
    }
}

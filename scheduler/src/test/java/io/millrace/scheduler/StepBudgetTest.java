package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.SamplingParams;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Property: what one request gives back, tokens and logit rows, is there for the next to the last one, however often and in whatever order. */
class StepBudgetTest {
    private static final int TOKENS = 100;
    private static final int ROWS = 12;

    private static RequestState request(int id, int promptLength) {
        RequestState r = new RequestState(id, new GenerationRequest(Harness.prompt(id, promptLength), SamplingParams.greedy(5), new RecordingSink()), 16, 0,
                null);
        r.maxComputedTokens = promptLength + 4;
        return r;
    }

    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3})
    void whatIsGivenBackCanBeTakenAgain(long seed) {
        Random random = new Random(seed);
        StepBudget budget = new StepBudget(FakeEngine.builder().maxNumSeqs(ROWS).maxLogitRows(ROWS).maxModelLen(1000).build().limits(), TOKENS, 1000);
        budget.reset();
        // Asks for more than there can be, and for no row: what it may take is what is left.
        RequestState greedy = request(0, 500);
        List<RequestState> held = new ArrayList<>();
        int tokensHeld = 0;
        for (int i = 1; i < 3000; i++) {
            assertThat(budget.chunk(greedy)).as("operation %d", i).isEqualTo(TOKENS - tokensHeld);
            assertThat(budget.isSpent()).isEqualTo(tokensHeld == TOKENS || held.size() == ROWS);
            if (random.nextBoolean() && !held.isEmpty()) {
                RequestState back = held.remove(random.nextInt(held.size()));
                tokensHeld -= back.numScheduled;
                budget.giveBack(back);
                assertThat(back.numScheduled).isZero();
                // A second time it has nothing to give.
                budget.giveBack(back);
            } else {
                RequestState next = request(i, 1 + random.nextInt(30));
                int count = budget.chunk(next);
                boolean ends = count == next.numPromptTokens();
                if (count > 0) {
                    assertThat(next.numScheduledRows).isEqualTo(ends ? 1 : 0);
                    budget.take(next, count);
                    if (ends) {
                        held.add(next);
                        tokensHeld += count;
                    } else {
                        // One that would hold tokens and no row.
                        budget.giveBack(next);
                    }
                }
            }
        }
        assertThat(held).isNotEmpty();
    }
}

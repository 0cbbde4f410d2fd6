package io.millrace.scheduler.simulate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.millrace.engine.SamplingParams;
import io.millrace.engine.Sequence;
import io.millrace.engine.StepPlan;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class CostFitTest {
    private static final StepCost TRUTH = new StepCost("truth", 3_000_000, 40_000, 15_000, 25, 2);

    /** Steps of 1 to 40 sequences, decodes and chunks, at contexts up to 4,000. */
    private static List<StepPlan> plans(int count, long seed) {
        Random random = new Random(seed);
        List<StepPlan> plans = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            StepPlan plan = new StepPlan(64);
            int sequences = 1 + random.nextInt(40);
            for (int s = 0; s < sequences; s++) {
                Sequence sequence = new Sequence(s, new int[8000], SamplingParams.greedy(10), 16);
                plan.add(sequence, random.nextInt(4000), random.nextInt(4) == 0 ? 1 + random.nextInt(500) : 1, false);
            }
            plans.add(plan);
        }
        return plans;
    }

    private static List<CostFit.Sample> samples(List<StepPlan> plans, StepCost cost, double noise, long seed) {
        Random random = new Random(seed);
        return plans.stream().map(plan -> new CostFit.Sample(StepCost.terms(plan), cost.applyAsLong(plan) * (1 + noise * random.nextGaussian()))).toList();
    }

    /** Property: from steps that follow the model exactly, the fit finds the model. */
    @Test
    void findsTheCostsThatMadeTheSteps() {
        CostFit.Fitted fitted = CostFit.fit(samples(plans(200, 1), TRUTH, 0, 2), "fit");
        assertThat(fitted.meanError()).isLessThan(1e-6);
        assertThat(fitted.cost().fixedNanos()).isCloseTo(TRUTH.fixedNanos(), within(10.0));
        assertThat(fitted.cost().perTokenNanos()).isCloseTo(TRUTH.perTokenNanos(), within(1.0));
        assertThat(fitted.cost().perSequenceNanos()).isCloseTo(TRUTH.perSequenceNanos(), within(10.0));
        assertThat(fitted.cost().perContextTokenNanos()).isCloseTo(TRUTH.perContextTokenNanos(), within(0.01));
        assertThat(fitted.cost().perPairNanos()).isCloseTo(TRUTH.perPairNanos(), within(0.01));
    }

    /** Property: with 2 % of noise the prediction of other steps stays within 5 %. */
    @Test
    void predictsStepsItHasNotSeen() {
        StepCost cost = CostFit.fit(samples(plans(300, 3), TRUTH, 0.02, 4), "fit").cost();
        for (StepPlan plan : plans(100, 5)) {
            assertThat((double) cost.applyAsLong(plan) / TRUTH.applyAsLong(plan)).isCloseTo(1, within(0.05));
        }
    }

    /** Property: noise never makes a cost negative, even where the true one is nothing. */
    @Test
    void noCostIsNegative() {
        StepCost onlyFixed = new StepCost("fixed", 1_000_000, 0, 0, 0, 0);
        for (int seed = 0; seed < 20; seed++) {
            StepCost cost = CostFit.fit(samples(plans(30, seed), onlyFixed, 0.1, seed), "fit").cost();
            assertThat(cost.applyAsLong(plans(1, 99).getFirst())).isBetween(800_000L, 1_200_000L);
        }
    }

    /** Property: too few steps to tell the costs apart are refused with the numbers. */
    @Test
    void fewSamplesAreRefused() {
        assertThatThrownBy(() -> CostFit.fit(samples(plans(4, 1), TRUTH, 0, 1), "fit")).hasMessageContaining("SIM-002: 4 measured steps");
    }
}

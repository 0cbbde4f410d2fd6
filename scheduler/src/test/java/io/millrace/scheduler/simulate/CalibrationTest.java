package io.millrace.scheduler.simulate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.millrace.engine.Engine;
import io.millrace.engine.EngineLimits;
import io.millrace.engine.ForwardingEngine;
import io.millrace.engine.Sequence;
import io.millrace.engine.StepPlan;
import io.millrace.engine.StepResult;
import io.millrace.scheduler.SchedulerConfig;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Property: what an engine's steps cost is found by running it, whatever it is, from the shapes of steps that a calibration makes. */
class CalibrationTest {
    private static final EngineLimits LIMITS = Simulation.limits(4096, 64, 2048, 1200, 16);

    private long now;

    /** Takes the time that {@code cost} says, by the test's clock, with an error of {@code noise}. */
    private Engine engine(StepCost cost, double noise) {
        SimulatedEngine engine = new SimulatedEngine(LIMITS);
        for (int id = 1; id < 100_000; id++) {
            engine.setNumOutput(id, 1000);
        }
        Random random = new Random(3);
        return new ForwardingEngine(engine) {
            @Override
            public StepResult execute(StepPlan plan) {
                now += Math.round(cost.applyAsLong(plan) * (1 + noise * random.nextGaussian()));
                return super.execute(plan);
            }
        };
    }

    private CostFit.Fitted calibrate(StepCost cost, double noise) {
        return Calibration.run(engine(cost, noise), SchedulerConfig.defaults(LIMITS), 20, "test", () -> now);
    }

    /** A processor's costs, an accelerator's, and one that is all attention: each of the five is told from the others. */
    @ParameterizedTest
    @CsvSource({"20000000,2000000,100000,500,20", "6000000,30000,20000,43,1", "1000,1000,0,10000,300", "5000000,0,0,0,0"})
    void everyCostIsFound(double fixed, double perToken, double perSequence, double perContext, double perPair) {
        StepCost truth = new StepCost("truth", fixed, perToken, perSequence, perContext, perPair);
        CostFit.Fitted fitted = calibrate(truth, 0);
        StepCost found = fitted.cost();
        assertThat(fitted.numSteps()).isGreaterThan(50);
        assertThat(fitted.meanError()).isLessThan(0.001);
        assertThat(found.fixedNanos()).isCloseTo(fixed, within(0.01 * fixed + 20));
        assertThat(found.perTokenNanos()).isCloseTo(perToken, within(0.01 * perToken + 5));
        assertThat(found.perSequenceNanos()).isCloseTo(perSequence, within(0.01 * perSequence + 20));
        assertThat(found.perContextTokenNanos()).isCloseTo(perContext, within(0.01 * perContext + 0.5));
        assertThat(found.perPairNanos()).isCloseTo(perPair, within(0.01 * perPair + 0.01));
    }

    /** With steps that vary by 5 %, shapes that were not measured (fuller, longer) are predicted within 8 %, and the error is told. */
    @Test
    void noisyStepsArePredicted() {
        StepCost truth = new StepCost("truth", 6_000_000, 30_000, 20_000, 43, 1);
        CostFit.Fitted fitted = calibrate(truth, 0.05);
        assertThat(fitted.meanError()).isBetween(0.02, 0.08);
        Random random = new Random(9);
        for (int i = 0; i < 200; i++) {
            StepPlan plan = new StepPlan(64);
            int numSequences = 1 + random.nextInt(60);
            for (int s = 0; s < numSequences; s++) {
                plan.add(new Sequence(s, new int[4096], io.millrace.engine.SamplingParams.greedy(1), 16), random.nextInt(2000),
                        random.nextInt(20) == 0 ? 1 + random.nextInt(500) : 1, false);
            }
            assertThat((double) fitted.cost().applyAsLong(plan) / truth.applyAsLong(plan)).isCloseTo(1, within(0.08));
        }
    }

    /** The time that is allowed bounds the measuring, within the steps that a fit needs; an engine that fails is not fitted. */
    @Test
    void itEndsInTimeAndFailuresAreTold() {
        StepCost slow = new StepCost("slow", 30_000_000_000L, 0, 0, 0, 0);
        CostFit.Fitted fitted = calibrate(slow, 0);
        assertThat(fitted.numSteps()).isBetween(20, 40);
        Engine failing = new ForwardingEngine(engine(slow, 0)) {
            @Override
            public void begin(Sequence sequence) {
                throw new IllegalStateException("a test failure");
            }
        };
        assertThatThrownBy(() -> Calibration.run(failing, SchedulerConfig.defaults(LIMITS), 1, "failing", () -> now))
                .hasMessage("SIM-004: a request of the calibration failed: a test failure");
    }
}

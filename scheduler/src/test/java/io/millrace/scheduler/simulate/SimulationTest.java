package io.millrace.scheduler.simulate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.millrace.engine.EngineLimits;
import io.millrace.scheduler.FinishReason;
import io.millrace.scheduler.RejectedException;
import io.millrace.scheduler.SchedulerConfig;
import io.millrace.scheduler.simulate.LoadSeries.Quantity;
import io.millrace.scheduler.simulate.Trace.Arrival;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class SimulationTest {
    private static final StepCost COST = new StepCost("test", 10_000_000, 100_000, 0, 0, 0);

    private static SimulationResult run(Trace trace, EngineLimits limits, int maxQueued) {
        SchedulerConfig config = new SchedulerConfig(limits.maxNumSeqs(), limits.maxNumBatchedTokens(), limits.maxNumBatchedTokens(), maxQueued);
        return Simulation.run(trace, new Simulation.Options(limits, config, COST, Simulation.Objective.NONE, 0, 0, 1, 7));
    }

    private static Trace random(int count, long gapNanos, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        List<Arrival> arrivals = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            arrivals.add(new Arrival(i * gapNanos, 1 + random.nextInt(200), 1 + random.nextInt(50), 0, 0));
        }
        return new Trace(arrivals);
    }

    /** Property: the times of a lone request are the cost model's: 100 prompt tokens in two steps of 64, then one token a step. */
    @Test
    void aLoneRequestTakesWhatItsStepsCost() {
        SimulationResult result = run(new Trace(List.of(new Arrival(5_000_000_000L, 100, 3, 0, 0))), Simulation.limits(512, 4, 64, 64, 16), 10);
        assertThat(result.numSteps()).isEqualTo(4);
        assertThat(result.all().ttft().millis(50)).isCloseTo(2 * 10 + 100 * 0.1, within(1e-3));
        assertThat(result.all().tpot().millis(50)).isCloseTo(10.1, within(1e-3));
        assertThat(result.all().e2e().millis(50)).isCloseTo(30 + 2 * 10.1, within(1e-3));
        assertThat(result.virtualSeconds()).as("time before the arrival counts").isCloseTo(5.0502, within(1e-4));
    }

    /** Property: who comes while a step is under way has waited from then on, not from the step's end. */
    @Test
    void waitingForTheStepUnderWayCounts() {
        SimulationResult result = run(new Trace(List.of(new Arrival(0, 20, 5, 0, 0), new Arrival(3_000_000, 10, 1, 0, 0))), Simulation.limits(512, 4, 64, 64, 16), 10);
        // The first step takes 12 ms; the second, a decode and ten prompt tokens, 11.1.
        assertThat(result.all().ttft().millis(100)).isCloseTo(12 - 3 + 11.1, within(1e-3));
    }

    /**
     * Property: steps overlap as the engine loop has them. One long request alone: the host's 4 ms show in every step if steps go one by one and
     * only in front of the first if they overlap. Who comes while a step runs waits for the one submitted behind it, too.
     */
    @Test
    void overlappedStepsHideTheHost() {
        EngineLimits limits = Simulation.limits(512, 4, 64, 64, 16);
        Trace lone = new Trace(List.of(new Arrival(0, 10, 100, 0, 0)));
        Simulation.Options options = new Simulation.Options(limits, new SchedulerConfig(4, 64, 64, 10), COST, Simulation.Objective.NONE, 0, 0, 1, 1);
        double oneByOne = Simulation.run(lone, options.withStepping(false, 4_000_000)).all().e2e().millis(50);
        double overlapped = Simulation.run(lone, options.withStepping(true, 4_000_000)).all().e2e().millis(50);
        assertThat(oneByOne).isCloseTo(11 + 99 * 10.1 + 100 * 4, within(1e-3));
        assertThat(overlapped).isCloseTo(11 + 99 * 10.1 + 4, within(1e-3));

        Trace two = new Trace(List.of(new Arrival(0, 10, 100, 0, 0), new Arrival(14_000_000, 10, 1, 0, 0)));
        double second = Simulation.run(two, options.withStepping(true, 0)).all().ttft().millis(100);
        // Steps end at 11, 21.1, 31.2; the newcomer at 14 is planned at 21.1 behind the step that ends at 31.2, beside a decode.
        assertThat(second).isCloseTo(31.2 - 14 + 11.1, within(1e-3));
    }

    /** Property: a trace with steps overlapped loses nothing, ends as it should and gives equal schedules, ends by themselves and by length. */
    @Test
    void overlappedTracesLoseNothing() {
        EngineLimits limits = Simulation.limits(512, 8, 128, 60, 16);
        for (int maxTokens : new int[] {0, 100}) {
            Simulation.Options options = new Simulation.Options(limits, new SchedulerConfig(8, 128, 128, 1000), COST, Simulation.Objective.NONE, 0, maxTokens, 1,
                    1).withStepping(true, 500_000);
            Trace trace = random(300, 2_000_000, 1);
            SimulationResult first = Simulation.run(trace, options);
            SimulationResult second = Simulation.run(trace, options);
            assertThat(first.all().completed()).isEqualTo(300);
            assertThat(first.all().outputTokens()).isEqualTo(trace.arrivals().stream().mapToLong(Arrival::numOutput).sum());
            assertThat(second.scheduleHash()).isEqualTo(first.scheduleHash());
            assertThat(second.virtualSeconds()).isEqualTo(first.virtualSeconds());
        }
    }

    /** Property: every request is counted once, completed or refused, and completed ones got exactly their tokens. */
    @Test
    void nothingIsLost() {
        Trace trace = random(500, 2_000_000, 1);
        SimulationResult result = run(trace, Simulation.limits(512, 8, 128, 60, 16), 20);
        assertThat(result.all().rejected()).isPositive();
        assertThat(result.rejections()).containsOnlyKeys(RejectedException.Kind.QUEUE_FULL);
        assertThat(result.all().completed() + result.all().rejected()).isEqualTo(500);
        assertThat(result.finishReasons()).containsOnlyKeys(FinishReason.LENGTH);
        SimulationResult roomy = run(trace, Simulation.limits(512, 8, 128, 60, 16), 1000);
        assertThat(roomy.all().completed()).isEqualTo(500);
        assertThat(roomy.numPreemptions()).isPositive();
        assertThat(roomy.all().outputTokens()).isEqualTo(trace.arrivals().stream().mapToLong(Arrival::numOutput).sum());
        assertThat(roomy.all().promptTokens()).isEqualTo(trace.arrivals().stream().mapToLong(Arrival::numPrompt).sum());
        assertThat(Arrays.stream(roomy.load().peaks(Quantity.WAITING, 50)).max().orElse(0)).isBetween(300.0, 500.0);
    }

    /** Property: the same seed gives the same schedule and the same figures; another trace another one. */
    @Test
    void equalSeedsGiveEqualSchedules() {
        EngineLimits limits = Simulation.limits(512, 8, 128, 60, 16);
        SimulationResult first = run(random(300, 3_000_000, 1), limits, 1000);
        SimulationResult second = run(random(300, 3_000_000, 1), limits, 1000);
        SimulationResult other = run(random(300, 3_000_000, 2), limits, 1000);
        assertThat(second.scheduleHash()).isEqualTo(first.scheduleHash());
        assertThat(second.virtualSeconds()).isEqualTo(first.virtualSeconds());
        assertThat(second.all().ttft().millis(99)).isEqualTo(first.all().ttft().millis(99));
        assertThat(other.scheduleHash()).isNotEqualTo(first.scheduleHash());
    }

    /** Property: a request that asks for more than it gets ends by itself, as a real one does, not by its limit. */
    @Test
    void answersEndBeforeTheirLimit() {
        EngineLimits limits = Simulation.limits(512, 8, 128, 60, 16);
        SchedulerConfig config = new SchedulerConfig(8, 128, 128, 1000);
        SimulationResult result = Simulation.run(random(50, 3_000_000, 1),
                new Simulation.Options(limits, config, COST, new Simulation.Objective(1e9, 1e9, 1e9), 0, 100, 1, 0));
        assertThat(result.finishReasons()).containsOnlyKeys(FinishReason.STOP);
        assertThat(result.all().good()).isEqualTo(50);
        SimulationResult none = Simulation.run(random(50, 3_000_000, 1),
                new Simulation.Options(limits, config, COST, new Simulation.Objective(0.1, 1e9, 1e9), 0, 100, 1, 0));
        assertThat(none.all().good()).isZero();
    }

    /** Property: changes of a trace keep what they do not change. */
    @Test
    void tracesAreScaledRepeatedAndMixed() {
        Trace trace = random(210, 1_000_000, 1);
        assertThat(trace.faster(10).seconds()).isCloseTo(trace.seconds() / 10, within(1e-6));
        assertThat(trace.repeated(3).size()).isEqualTo(630);
        assertThat(trace.repeated(3).seconds()).isCloseTo(3 * trace.seconds(), within(0.01));
        Trace mixed = trace.withTenants(new double[] {20, 1}, 5);
        long light = mixed.arrivals().stream().filter(a -> a.tenant() == 1).count();
        assertThat(light).isBetween(3L, 25L);
        assertThat(mixed.numTenants()).isEqualTo(2);
        assertThat(trace.longer(0.5).maxLength()).isBetween(trace.maxLength() / 2 - 2, trace.maxLength() / 2 + 2);
        assertThatThrownBy(() -> new Arrival(0, 0, 1, 0, 0)).hasMessageContaining("SIM-003");
    }

    /** Property: however long a series is, peaks and the time they span are kept. */
    @Test
    void seriesKeepPeaksOverAnyTime() {
        LoadSeries series = new LoadSeries(1_000_000);
        for (int i = 0; i < 100_000; i++) {
            series.record(i * 1_000_000L, i == 70_000 ? 500 : 3, 1, 2);
        }
        assertThat(series.seconds()).isBetween(100.0, 201.0);
        double[] peaks = series.peaks(Quantity.WAITING, 40);
        assertThat(Arrays.stream(peaks).max().orElse(0)).isEqualTo(500);
        assertThat(Arrays.stream(peaks).filter(peak -> peak == 3).count()).isEqualTo(39);
        // A long silence: what held before it holds through it.
        series.record(400_000_000_000L, 0, 0, 0);
        assertThat(series.peaks(Quantity.RUNNING, 10)).containsOnly(1);
    }

}

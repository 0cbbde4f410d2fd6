package io.millrace.scheduler.simulate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.sun.management.ThreadMXBean;
import io.millrace.engine.EngineLimits;
import io.millrace.engine.SamplingParams;
import io.millrace.engine.StepResult;
import io.millrace.scheduler.FinishReason;
import io.millrace.scheduler.GenerationRequest;
import io.millrace.scheduler.QueueConfig;
import io.millrace.scheduler.SchedulerConfig;
import io.millrace.scheduler.SchedulerListener;
import io.millrace.scheduler.SchedulingPolicy;
import io.millrace.scheduler.Terms;
import io.millrace.scheduler.TokenSink;
import io.millrace.scheduler.VirtualLoop;
import io.millrace.scheduler.simulate.SimulationResult.Group;
import io.millrace.scheduler.simulate.Trace.Arrival;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What the policies promise, under load that no test machine has. */
class PolicySimulationTest {
    private static final StepCost COST = new StepCost("test", 10_000_000, 50_000, 0, 20, 0);
    private static final int LONGEST_OUTPUT = 100;
    private static final Pattern LINE = Pattern.compile("\"t_ms\": (\\d+), \"in\": (\\d+), \"out\": (\\d+)");

    private static SimulationResult run(Trace trace, QueueConfig queue) {
        EngineLimits limits = Simulation.limits(1024, 32, 512, 1500, 16);
        SchedulerConfig config = new SchedulerConfig(32, 512, 256, 1_000_000).with(queue);
        return Simulation.run(trace, new Simulation.Options(limits, config, COST, Simulation.Objective.NONE, 0, 0, 1, 500));
    }

    private static QueueConfig queue(SchedulingPolicy policy, Trace trace) {
        return QueueConfig.of(policy, trace.numTenants());
    }

    /** Three times as many requests as can be served, tenant 0 with twenty of 21, priorities 0 to 2. */
    private static Trace overload(int count) {
        SplittableRandom random = new SplittableRandom(3);
        List<Arrival> arrivals = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            arrivals.add(new Arrival(i * 6_000_000L, 50 + random.nextInt(300), 20 + random.nextInt(LONGEST_OUTPUT - 20), random.nextInt(21) == 0 ? 1 : 0,
                    random.nextInt(3)));
        }
        return new Trace(arrivals);
    }

    /** Property: no starvation. Under overload every admitted request finishes, whatever the policy; and equal runs give equal schedules. */
    @ParameterizedTest
    @EnumSource(SchedulingPolicy.class)
    void everyAdmittedRequestFinishes(SchedulingPolicy policy) {
        Trace trace = overload(3000);
        SimulationResult first = run(trace, queue(policy, trace));
        SimulationResult second = run(trace, queue(policy, trace));
        assertThat(first.all().completed()).isEqualTo(3000);
        assertThat(first.all().rejected()).isZero();
        assertThat(first.virtualSeconds()).as("overload").isGreaterThan(2 * trace.seconds());
        assertThat(second.scheduleHash()).isEqualTo(first.scheduleHash());
        assertThat(second.virtualSeconds()).isEqualTo(first.virtualSeconds());
    }

    /**
     * Property: no starvation while the overload lasts, not only once arrivals have ended: three times as many come as can be served, and the
     * first tenth of them is served before the last comes. (Under priorities it is aging that sees to it: agingKeepsTheLeastUrgentFromStarving.)
     */
    @ParameterizedTest
    @EnumSource(value = SchedulingPolicy.class, names = {"FCFS", "FAIR"})
    void theFirstAreServedWhileTheOverloadLasts(SchedulingPolicy policy) {
        List<Arrival> arrivals = overload(3000).arrivals();
        List<Arrival> marked = new ArrayList<>();
        for (int i = 0; i < arrivals.size(); i++) {
            Arrival a = arrivals.get(i);
            // Neither policy looks at the priority: it only marks who came first.
            marked.add(new Arrival(a.nanos(), a.numPrompt(), a.numOutput(), a.tenant(), i < 300 ? 0 : 1));
        }
        Trace trace = new Trace(marked);
        SimulationResult result = run(trace, queue(policy, trace));
        double untilTheLastComes = (marked.getLast().nanos() - marked.get(299).nanos()) / 1e6;
        assertThat(result.byPriority().get(0).completed()).isEqualTo(300);
        assertThat(result.byPriority().get(0).ttft().millis(100)).isLessThan(untilTheLastComes);
        assertThat(result.byPriority().get(1).ttft().millis(100)).as("overload: the others wait beyond the last arrival").isGreaterThan(untilTheLastComes);
    }

    /**
     * Property: a key with 20 of 21 requests cannot push the other key's time to first token beyond the time of one longest answer in a full
     * step, although its own requests wait ever longer; first come, first served gives no such bound. Total throughput is the same.
     */
    @Test
    void aHeavyKeyDoesNotDelayALightOne() {
        Trace trace = overload(3000);
        SimulationResult fair = run(trace, queue(SchedulingPolicy.FAIR, trace));
        SimulationResult fcfs = run(trace, queue(SchedulingPolicy.FCFS, trace));
        // The largest step: 512 tokens and a full cache read. A prompt of the light key takes at most three of them after it was let in.
        double fullStepMillis = 10 + 512 * 0.05 + 1500 * 16 * 20e-6;
        double bound = fullStepMillis * (LONGEST_OUTPUT + 3);
        Group light = fair.byTenant().get(1);
        System.out.printf("light key, TTFT p99: fair %.0f ms (max %.0f, bound %.0f), fcfs %.0f ms; heavy key, median: %.0f and %.0f ms%n",
                light.ttft().millis(99), light.ttft().millis(100), bound, fcfs.byTenant().get(1).ttft().millis(99),
                fair.byTenant().get(0).ttft().millis(50), fcfs.byTenant().get(0).ttft().millis(50));
        assertThat(light.ttft().millis(100)).isLessThanOrEqualTo(bound);
        assertThat(fcfs.byTenant().get(1).ttft().millis(99)).isGreaterThan(3 * bound);
        assertThat(fair.virtualSeconds()).isBetween(0.98 * fcfs.virtualSeconds(), 1.02 * fcfs.virtualSeconds());
    }

    /** Property: the more urgent wait less, level by level, and aging takes from that what the least urgent would lose. */
    @Test
    void theUrgentWaitLess() {
        Trace trace = overload(3000);
        SimulationResult strict = run(trace, new QueueConfig(SchedulingPolicy.PRIORITY, 0, 0, 2, 0, 0));
        SimulationResult aging = run(trace, new QueueConfig(SchedulingPolicy.PRIORITY, 1, 0, 2, 0, 0));
        SimulationResult fcfs = run(trace, queue(SchedulingPolicy.FCFS, trace));
        for (SimulationResult result : List.of(strict, aging)) {
            assertThat(result.byPriority().get(0).ttft().millis(50)).isLessThan(result.byPriority().get(1).ttft().millis(50));
            assertThat(result.byPriority().get(1).ttft().millis(50)).isLessThan(result.byPriority().get(2).ttft().millis(50));
        }
        assertThat(strict.byPriority().get(0).ttft().millis(99)).isLessThan(fcfs.all().ttft().millis(99) / 5);
        assertThat(aging.byPriority().get(2).ttft().millis(50)).isLessThan(0.8 * strict.byPriority().get(2).ttft().millis(50));
    }

    /** Property: on real arrivals, a cut of the Azure conversation trace at ten times its rate, fair sharing serves the light key first and costs nothing. */
    @Test
    void policiesOnRealArrivals() throws IOException {
        Path file = Path.of(System.getProperty("millrace.data", "absent"), "traces", "small_azure_conv.jsonl");
        assumeTrue(Files.isReadable(file), "no trace at " + file + "; set -Dmillrace.data to replay real arrivals");
        List<Arrival> arrivals = new ArrayList<>();
        for (String line : Files.readAllLines(file)) {
            Matcher m = LINE.matcher(line);
            assertThat(m.find()).as(line).isTrue();
            arrivals.add(new Arrival(Long.parseLong(m.group(1)) * 1_000_000, Integer.parseInt(m.group(2)), Integer.parseInt(m.group(3)), 0, 0));
        }
        Trace trace = new Trace(arrivals).faster(120).longer(2).withTenants(new double[] {20, 1}, 1).withPriorities(new double[] {1, 9}, 1);
        System.out.printf("%-10s %12s %16s %16s %18s %12s%n", "policy", "seconds", "heavy p50, ms", "light p99, ms", "urgent p99, ms", "preemptions");
        List<SimulationResult> results = new ArrayList<>();
        for (SchedulingPolicy policy : SchedulingPolicy.values()) {
            SimulationResult result = run(trace, queue(policy, trace));
            results.add(result);
            System.out.printf("%-10s %12.1f %16.0f %16.0f %18.0f %12d%n", policy, result.virtualSeconds(), result.byTenant().get(0).ttft().millis(50),
                    result.byTenant().get(1).ttft().millis(99), result.byPriority().get(0).ttft().millis(99), result.numPreemptions());
            assertThat(result.all().completed()).isEqualTo(trace.size());
        }
        assertThat(results.get(2).byTenant().get(1).ttft().millis(99)).isLessThan(results.get(0).byTenant().get(1).ttft().millis(99) / 3);
        assertThat(results.get(1).byPriority().get(0).ttft().millis(99)).isLessThan(results.get(0).byPriority().get(0).ttft().millis(99) / 2);
        assertThat(results.get(2).virtualSeconds()).isBetween(0.95 * results.get(0).virtualSeconds(), 1.05 * results.get(0).virtualSeconds());
    }

    /** Property: with 100,000 requests waiting, a step in which nobody comes or goes allocates nothing, under every policy. */
    @ParameterizedTest
    @EnumSource(SchedulingPolicy.class)
    void aLongQueueCostsNoAllocation(SchedulingPolicy policy) {
        EngineLimits limits = Simulation.limits(2048, 32, 512, 32 * 128, 16);
        SimulatedEngine engine = new SimulatedEngine(limits);
        VirtualLoop loop = new VirtualLoop(engine, new SchedulerConfig(32, 512, 512, 200_000).with(QueueConfig.of(policy, 50)), SchedulerListener.NONE);
        for (int id = 1; id <= 100_032; id++) {
            engine.setNumOutput(id, 1900);
            loop.submit(new GenerationRequest(new int[] {16 + id % 1000, 17}, SamplingParams.builder().temperature(0f).maxTokens(1900).ignoreEos(true)
                    .build(), new Silent(), null, new Terms(id % 50, 0, 0)));
        }
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        for (int i = 0; i < 600; i++) {
            loop.step(COST);
        }
        assertThat(loop.numWaiting()).isEqualTo(100_000);
        long before = threads.getCurrentThreadAllocatedBytes();
        for (int i = 0; i < 300; i++) {
            loop.step(COST);
        }
        assertThat(threads.getCurrentThreadAllocatedBytes() - before).isLessThan(4096);
        loop.checkIntegrity();
    }

    private static final class Silent implements TokenSink {
        @Override
        public void onToken(int tokenId, StepResult result, int row) {}

        @Override
        public void onFinish(FinishReason reason, int stopTokenId, String message) {}
    }
}

package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.engine.EngineLimits;
import io.millrace.engine.FakeEngine;
import io.millrace.engine.SamplingParams;
import io.millrace.engine.StepPlan;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Consumer;

/**
 * A scheduler over a {@link FakeEngine}, stepped by the test under virtual time. After every step all invariants are checked, and that
 * the plan kept the budgets and the oldest request went forward.
 */
final class Harness {
    private static final IndexKey KEY = new IndexKey(0x5EED);
    final FakeEngine engine;
    final Scheduler scheduler;
    final EngineLimits limits;
    final List<RequestState> requests = new ArrayList<>();
    final List<RecordingSink> sinks = new ArrayList<>();
    private final SchedulerConfig config;
    private final Admission admission;
    private final QueueConfig queue;
    private int numEndedInOrder;
    private int numSubmitted;
    /** Virtual time and what a step takes of it. */
    long nanos = 1_000_000;
    long nanosPerStep = 100_000;
    long nanosPerToken = 1_000;
    long numSteps;
    /** Looks at each plan before it is run. */
    Consumer<StepPlan> onPlan = plan -> {};
    /** Running hash of all plans: equal schedules, equal hash. */
    long scheduleHash;

    Harness(FakeEngine.Builder builder, int maxPrefillChunk) {
        this(builder, maxPrefillChunk, SchedulerListener.NONE);
    }

    Harness(FakeEngine.Builder builder, int maxPrefillChunk, SchedulerListener listener) {
        this(builder, listener, KEY, maxPrefillChunk, true, QueueConfig.DEFAULT);
    }

    Harness(FakeEngine.Builder builder, int maxPrefillChunk, SchedulerListener listener, QueueConfig queue) {
        this(builder, listener, KEY, maxPrefillChunk, true, queue);
    }

    Harness(FakeEngine.Builder builder, int maxPrefillChunk, SchedulerListener listener, boolean prefixCaching, IndexKey indexKey) {
        this(builder, listener, indexKey, maxPrefillChunk, prefixCaching, QueueConfig.DEFAULT);
    }

    private Harness(FakeEngine.Builder builder, SchedulerListener listener, IndexKey indexKey, int maxPrefillChunk, boolean prefixCaching,
            QueueConfig queue) {
        this.queue = queue;
        engine = builder.build();
        limits = engine.limits();
        config = new SchedulerConfig(limits.maxNumSeqs(), limits.maxNumBatchedTokens(), maxPrefillChunk, 1 << 20, prefixCaching, queue);
        scheduler = new Scheduler(engine, config, () -> nanos, listener, indexKey);
        admission = new Admission(limits, scheduler, config, () -> nanos);
    }

    static int[] prompt(int seed, int length) {
        return new SplittableRandom(seed).ints(length, 3, 1000).toArray();
    }

    RequestState submit(int[] prompt, SamplingParams sampling) {
        RecordingSink sink = new RecordingSink();
        sinks.add(sink);
        return submit(prompt, sampling, sink);
    }

    RequestState submit(int[] prompt, SamplingParams sampling, TokenSink sink) {
        return submit(prompt, sampling, sink, null, null);
    }

    RequestState submit(int[] prompt, SamplingParams sampling, Terms terms) {
        RecordingSink sink = new RecordingSink();
        sinks.add(sink);
        return submit(new GenerationRequest(prompt, sampling, sink, null, terms), null);
    }

    /** The choices of one request: the first computes the prompt for all. */
    List<RequestState> fork(int[] prompt, SamplingParams sampling, String salt, int n) {
        List<RequestState> choices = new ArrayList<>();
        for (int i = 0; i < n; i++) {
            RecordingSink sink = new RecordingSink();
            sinks.add(sink);
            choices.add(submit(prompt, sampling, sink, salt, i == 0 ? null : choices.getFirst()));
        }
        return choices;
    }

    RequestState submit(int[] prompt, SamplingParams sampling, TokenSink sink, String salt, RequestState leader) {
        return submit(new GenerationRequest(prompt, sampling, sink, salt), leader);
    }

    private RequestState submit(GenerationRequest request, RequestState leader) {
        admission.validate(request);
        admission.reserve(List.of(request));
        RequestState state = new RequestState(++numSubmitted, request, limits.blockSize(), nanos, null);
        state.numQueuedTokens = request.promptTokenIds().length;
        if (leader != null) {
            state.follow(leader);
        }
        requests.add(state);
        scheduler.submit(state);
        return state;
    }

    RecordingSink sink(RequestState request) {
        return (RecordingSink) request.sink;
    }

    /** One step; does nothing if nothing is left to compute. */
    StepPlan step() {
        RequestState oldest = oldest();
        int before = oldest == null ? 0 : oldest.sequence.numComputedTokens();
        RequestState first = queue.policy() == SchedulingPolicy.PRIORITY ? mostUrgentRunning() : oldest;
        int blocksBefore = first == null ? 0 : first.sequence.numBlocks();
        long fruitless = scheduler.progress().numFruitlessPreemptions;
        StepPlan plan = scheduler.schedule();
        scheduler.checkIntegrity();
        if (scheduler.progress().numFruitlessPreemptions > fruitless) {
            assertThat(first.sequence.numBlocks()).as("only the first in order preempts one that has not progressed, and takes its blocks")
                    .isGreaterThan(blocksBefore);
        }
        if (plan.isEmpty()) {
            assertThat(scheduler.hasWork()).as("nothing planned with %s", scheduler).isFalse();
            return plan;
        }
        onPlan.accept(plan);
        assertThat(plan.totalTokens()).isLessThanOrEqualTo(limits.maxNumBatchedTokens());
        for (int i = 0; i < plan.size(); i++) {
            boolean isPrefill = plan.numTokens(i) > 1;
            assertThat(plan.numTokens(i)).isLessThanOrEqualTo(isPrefill ? config.maxPrefillChunk() : 1);
            scheduleHash = 31 * (31 * (31 * scheduleHash + plan.sequence(i).id()) + plan.firstPosition(i)) + plan.numTokens(i);
            for (int k = 0; k < plan.sequence(i).numBlocks(); k++) {
                scheduleHash = 31 * scheduleHash + plan.sequence(i).blockIds()[k];
            }
        }
        long took = nanosPerStep + nanosPerToken * plan.totalTokens();
        nanos += took;
        scheduler.settle(plan, engine.execute(plan));
        scheduler.retryAfter().onStep(plan.totalTokens(), took);
        scheduler.checkIntegrity();
        numSteps++;
        if (queue.policy() == SchedulingPolicy.FCFS && oldest != null && oldest.phase != RequestState.Phase.FINISHED) {
            assertThat(oldest.sequence.numComputedTokens()).as("progress of the oldest, %s", oldest).isGreaterThan(before);
        }
        return plan;
    }

    /** Drops request {@code i}, which has ended, in long runs. */
    void forget(int i) {
        requests.remove(i);
        sinks.remove(i);
        numEndedInOrder = 0;
    }

    private RequestState oldest() {
        while (numEndedInOrder < requests.size() && requests.get(numEndedInOrder).phase == RequestState.Phase.FINISHED) {
            numEndedInOrder++;
        }
        RequestState oldest = numEndedInOrder < requests.size() ? requests.get(numEndedInOrder) : null;
        return oldest == null || oldest.numRemaining() == 0 ? null : oldest;
    }

    private RequestState mostUrgentRunning() {
        return requests.stream().filter(r -> r.phase == RequestState.Phase.RUNNING)
                .min(Comparator.<RequestState>comparingDouble(r -> r.rank).thenComparingLong(r -> r.arrivalOrder)).orElse(null);
    }

    /** Steps until nothing is left, then checks that nothing is left behind. */
    void drain() {
        long bound = numSteps + 1_000_000;
        while (scheduler.hasWork()) {
            step();
            assertThat(numSteps).as("steps").isLessThan(bound);
        }
        assertThat(scheduler.progress().numFreeBlocks).isEqualTo(limits.numBlocks());
        assertThat(engine.numLive()).isZero();
        for (RecordingSink sink : sinks) {
            assertThat(sink.fault()).isNull();
            assertThat(sink.numFinishes()).isEqualTo(1);
        }
    }

    void expectOutput(RequestState request) {
        assertThat(sink(request).tokens()).as("output of %s", request).isEqualTo(engine.expectedTokens(
                java.util.Arrays.copyOf(request.sequence.tokenIds(), request.numPromptTokens()), request.sequence.sampling()));
    }
}

package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.management.ThreadMXBean;
import io.millrace.engine.FakeEngine;
import io.millrace.engine.SamplingParams;
import io.millrace.engine.StepPlan;
import io.millrace.engine.StepResult;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Property: the engine thread allocates nothing while it decodes and takes no processor time while it has nothing to do. */
@Timeout(60)
class SteadyStateTest {
    private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    private static final int NUM_SEQUENCES = 64;
    private static final int NUM_STEPS = 500;

    /** Counts and keeps nothing. */
    private static final class CountingSink implements TokenSink {
        private final CountDownLatch ended;
        int numTokens;

        CountingSink(CountDownLatch ended) {
            this.ended = ended;
        }

        @Override
        public void onToken(int tokenId, StepResult result, int row) {
            numTokens++;
        }

        @Override
        public void onFinish(FinishReason reason, int stopTokenId, String message) {
            ended.countDown();
        }
    }

    /** One step after the other, and each planned and submitted while the one before runs. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void decodingAllocatesNothing(boolean overlapped) throws Exception {
        long allocated = -1;
        for (long deadline = System.nanoTime() + 30_000_000_000L; allocated != 0 && System.nanoTime() < deadline; ) {
            allocated = bytesWhileDecoding(overlapped);
        }
        assertThat(allocated).as("bytes allocated by the engine thread in %d steps of %d sequences", NUM_STEPS, NUM_SEQUENCES).isZero();
    }

    private static long bytesWhileDecoding(boolean overlapped) throws Exception {
        // With 600 prompt tokens a sequence has room for 256 outputs, then doubles to 1,712 places, at output 257: that growth is per
        // request and amortised, so the window opens after it and closes before the next.
        int firstStep = 300;
        long[] allocated = new long[2];
        int[] numDecodeSteps = new int[1];
        FakeEngine engine = FakeEngine.builder().maxModelLen(2048).maxNumSeqs(NUM_SEQUENCES).maxNumBatchedTokens(NUM_SEQUENCES * 600)
                .blocks(NUM_SEQUENCES * 128, 16).hook(plan -> {
                    numDecodeSteps[0] += plan.totalTokens() == NUM_SEQUENCES ? 1 : 0;
                    if (numDecodeSteps[0] == firstStep) {
                        allocated[0] = THREADS.getCurrentThreadAllocatedBytes();
                    } else if (numDecodeSteps[0] == firstStep + NUM_STEPS) {
                        allocated[1] = THREADS.getCurrentThreadAllocatedBytes();
                    }
                }).build();
        CountDownLatch ended = new CountDownLatch(NUM_SEQUENCES);
        List<GenerationRequest> requests = new ArrayList<>();
        for (int i = 0; i < NUM_SEQUENCES; i++) {
            requests.add(new GenerationRequest(Harness.prompt(i, 600), SamplingParams.greedy(firstStep + NUM_STEPS + 10),
                    new CountingSink(ended)));
        }
        try (EngineLoop loop = EngineLoop.start(engine, SchedulerConfig.defaults(engine.limits()), new SchedulerListener() {
            long numEvents;

            @Override
            public void onStep(StepStats stats) {
                numEvents += stats.numDecodeTokens();
            }

            @Override
            public void onNextToken(long nanos) {
                numEvents++;
            }
        }, LoopOptions.defaults().withAsyncScheduling(overlapped))) {
            loop.submitAll(requests);
            assertThat(ended.await(50, TimeUnit.SECONDS)).isTrue();
        }
        assertThat(numDecodeSteps[0]).isGreaterThanOrEqualTo(firstStep + NUM_STEPS);
        assertThat(allocated[0]).isPositive();
        return allocated[1] - allocated[0];
    }

    /**
     * Prompts with hits and without, blocks forgotten, requests preempted and found again: only a step in which a request begins or ends may
     * allocate, and that is the engine's and the sink's doing. Each round does exactly the same; the JVM itself allocates on this thread now
     * and then while it compiles, which ends after some rounds, and what the scheduler allocated would be in every one.
     */
    @Test
    void plansHitsEvictionsAndPreemptionsAllocateNothing() {
        long allocated = -1;
        int round = 0;
        for (long deadline = System.nanoTime() + 30_000_000_000L; allocated != 0 && System.nanoTime() < deadline; round++) {
            allocated = bytesInQuietSteps();
        }
        System.out.printf("%d rounds%n", round);
        assertThat(allocated).as("bytes allocated by schedule and settle").isZero();
    }

    private static long bytesInQuietSteps() {
        FakeEngine engine = FakeEngine.builder().vocabSize(5000).maxModelLen(1024).maxNumSeqs(16).maxNumBatchedTokens(256).blocks(260, 16).build();
        Scheduler scheduler = new Scheduler(engine, new SchedulerConfig(16, 256, 128, 10_000), System::nanoTime, SchedulerListener.NONE, new IndexKey(1));
        int[] shared = Harness.prompt(0, 200);
        List<RequestState> requests = new ArrayList<>();
        for (int i = 0; i < 600; i++) {
            int[] prompt = Harness.prompt(i, 210 + i % 90);
            if (i % 2 == 0) {
                System.arraycopy(shared, 0, prompt, 0, shared.length);
            }
            RequestState request = new RequestState(i + 1, new GenerationRequest(prompt, SamplingParams.greedy(1 + i * 7 % 250),
                    new CountingSink(new CountDownLatch(1))), 16, 0, null);
            requests.add(request);
            scheduler.submit(request);
        }
        long quietSteps = 0;
        long bytes = 0;
        while (scheduler.hasWork()) {
            long begunBefore = requests.stream().filter(r -> r.begun).count();
            long finishedBefore = scheduler.progress().numFinished;
            long start = THREADS.getCurrentThreadAllocatedBytes();
            StepPlan plan = scheduler.schedule();
            long scheduled = THREADS.getCurrentThreadAllocatedBytes() - start;
            StepResult result = engine.execute(plan);
            start = THREADS.getCurrentThreadAllocatedBytes();
            scheduler.settle(plan, result);
            long settled = THREADS.getCurrentThreadAllocatedBytes() - start;
            boolean quiet = scheduler.progress().numFinished == finishedBefore && requests.stream().filter(r -> r.begun).count() == begunBefore;
            quietSteps += quiet ? 1 : 0;
            bytes += quiet ? scheduled + settled : 0;
        }
        assertThat(quietSteps).isGreaterThan(1000);
        assertThat(scheduler.progress().numPreemptions).isPositive();
        assertThat(requests.stream().mapToInt(RequestState::numCachedTokens).sum()).isPositive();
        assertThat(scheduler.numEvictedBlocks()).isPositive();
        return bytes;
    }

    @Test
    void idlingTakesNoProcessorTimeAndWakingIsPrompt() throws Exception {
        long[] engineThread = new long[1];
        FakeEngine engine = FakeEngine.builder().hook(plan -> engineThread[0] = Thread.currentThread().threadId()).build();
        try (EngineLoop loop = EngineLoop.start(engine, SchedulerConfig.defaults(engine.limits()), SchedulerListener.NONE)) {
            runOne(loop);
            long cpu = THREADS.getThreadCpuTime(engineThread[0]);
            assertThat(cpu).as("the clock works").isPositive();
            Thread.sleep(200);
            long idleCpu = THREADS.getThreadCpuTime(engineThread[0]) - cpu;
            // A polling loop, even one that sleeps a millisecond, takes more.
            assertThat(idleCpu).as("nanoseconds of processor time in 200 ms").isLessThan(1_000_000);
            long slowest = 0;
            for (int i = 0; i < 200; i++) {
                long start = System.nanoTime();
                runOne(loop);
                slowest = Math.max(slowest, System.nanoTime() - start);
            }
            System.out.printf("idle: %d us of processor time in 200 ms; slowest of 200 one-token requests after idling %d us%n",
                    idleCpu / 1000, slowest / 1000);
            assertThat(slowest).as("a lost wake-up would show as a hang").isLessThan(5_000_000_000L);
        }
    }

    private static void runOne(EngineLoop loop) throws InterruptedException {
        CountDownLatch ended = new CountDownLatch(1);
        loop.submit(new GenerationRequest(Harness.prompt(1, 5), SamplingParams.greedy(1), new CountingSink(ended)));
        assertThat(ended.await(20, TimeUnit.SECONDS)).isTrue();
    }
}

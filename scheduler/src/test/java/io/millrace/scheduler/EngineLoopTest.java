package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.ForwardingEngine;
import io.millrace.engine.SamplingParams;
import io.millrace.engine.StepResult;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The engine thread: what goes in comes out, once, whatever sinks, clients and the end of the server do. */
@Timeout(60)
class EngineLoopTest {
    // Held, or the setting would be collected with the logger: the failures below are meant.
    private static final Logger LOG = Logger.getLogger("io.millrace.scheduler");

    @BeforeAll
    static void silence() {
        LOG.setLevel(Level.OFF);
    }

    @AfterAll
    static void speak() {
        LOG.setLevel(null);
    }

    /** Lets a test hold the engine before a step and let single steps through. */
    private static final class Gate implements FakeEngine.StepHook {
        private final Semaphore permits = new Semaphore(0);
        final CountDownLatch reached = new CountDownLatch(1);

        @Override
        public void beforeStep(io.millrace.engine.StepPlan plan) {
            reached.countDown();
            permits.acquireUninterruptibly();
        }

        void open(int steps) {
            permits.release(steps);
        }
    }

    private static EngineLoop start(FakeEngine engine, int maxQueued) {
        return EngineLoop.start(engine, new SchedulerConfig(8, 256, 256, maxQueued), SchedulerListener.NONE);
    }

    private static GenerationRequest request(int seed, int maxTokens, TokenSink sink) {
        return new GenerationRequest(Harness.prompt(seed, 10 + seed), SamplingParams.greedy(maxTokens), sink);
    }

    private static void expectFinished(RecordingSink sink, FinishReason reason) throws InterruptedException {
        assertThat(sink.awaitEnd()).as("ended").isTrue();
        assertThat(sink.reason).isEqualTo(reason);
        assertThat(sink.fault()).isNull();
        assertThat(sink.numFinishes()).isEqualTo(1);
    }

    /** An engine that loading has left some slices of work to; a slice may be held. */
    private static final class Packing extends ForwardingEngine {
        final AtomicInteger slices = new AtomicInteger(5);
        final AtomicInteger asked = new AtomicInteger();
        final Semaphore permits = new Semaphore(0);

        Packing() {
            super(FakeEngine.builder().build());
        }

        @Override
        public boolean packSome() {
            asked.incrementAndGet();
            permits.acquireUninterruptibly();
            return slices.get() > 0 && slices.decrementAndGet() > 0;
        }
    }

    /** Idle time packs weights once that is asked for, until nothing is left; a request waits for one slice at most, and then runs to its end. */
    @Test
    void idleTimeIsUsedForWhatLoadingLeft() throws Exception {
        Packing engine = new Packing();
        RecordingSink before = new RecordingSink();
        RecordingSink meanwhile = new RecordingSink();
        try (EngineLoop loop = EngineLoop.start(engine, new SchedulerConfig(8, 256, 256, 10), SchedulerListener.NONE)) {
            loop.submit(request(1, 30, before));
            expectFinished(before, FinishReason.LENGTH);
            assertThat(engine.asked).hasValue(0);
            loop.packWhileIdle();
            loop.submit(request(2, 30, meanwhile));
            engine.permits.release(1);
            expectFinished(meanwhile, FinishReason.LENGTH);
            engine.permits.release(3);
            while (engine.slices.get() > 1) {
                Thread.onSpinWait();
            }
            assertThat(loop.status().alive()).isTrue();
            engine.permits.release(100);
            while (engine.slices.get() > 0) {
                Thread.onSpinWait();
            }
            RecordingSink after = new RecordingSink();
            loop.submit(request(3, 30, after));
            expectFinished(after, FinishReason.LENGTH);
            loop.checkIntegrity();
        }
        assertThat(engine.asked.get()).as("asked again only after the loop was woken").isLessThan(12);
        engine.close();
    }

    @Test
    void servesManyAtOnceAndLeavesNothingBehind() throws Exception {
        FakeEngine engine = FakeEngine.builder().build();
        List<RecordingSink> sinks = new ArrayList<>();
        try (EngineLoop loop = start(engine, 100)) {
            for (int i = 0; i < 20; i++) {
                sinks.add(new RecordingSink());
                loop.submit(request(i, 30, sinks.getLast()));
            }
            for (int i = 0; i < 20; i++) {
                expectFinished(sinks.get(i), FinishReason.LENGTH);
                assertThat(sinks.get(i).tokens()).isEqualTo(engine.expectedTokens(Harness.prompt(i, 10 + i), SamplingParams.greedy(30)));
            }
            loop.checkIntegrity();
            GenerationService.Status status = loop.status();
            assertThat(status.numFreeBlocks()).isEqualTo(engine.limits().numBlocks());
            assertThat(status.numRunning()).isZero();
            assertThat(status.numWaiting()).isZero();
            assertThat(status.stalledNanos()).isZero();
            assertThat(status.numSteps()).isPositive();
        }
        assertThat(engine.numLive()).isZero();
    }

    @Test
    void aFullQueueRefusesWithAnEstimateAndTakesNone() throws Exception {
        Gate gate = new Gate();
        FakeEngine engine = FakeEngine.builder().hook(gate).build();
        List<RecordingSink> sinks = new ArrayList<>();
        try (EngineLoop loop = start(engine, 4)) {
            // Eight run and four wait: the thirteenth is one too many.
            for (int i = 0; i < 11; i++) {
                sinks.add(new RecordingSink());
                loop.submit(request(i, 5, sinks.getLast()));
            }
            RecordingSink refused = new RecordingSink();
            assertThatThrownBy(() -> loop.submitAll(List.of(request(1, 5, refused), request(2, 5, refused))))
                    .isInstanceOfSatisfying(RejectedException.class, e -> {
                        assertThat(e.kind()).isEqualTo(RejectedException.Kind.QUEUE_FULL);
                        assertThat(e.retryAfterSeconds()).isPositive();
                        assertThat(e).hasMessageContaining("11 requests").hasMessageContaining("12");
                    });
            sinks.add(new RecordingSink());
            loop.submit(request(11, 5, sinks.getLast()));
            assertThatThrownBy(() -> loop.submit(request(12, 5, refused))).isInstanceOf(RejectedException.class);
            GenerationService.Status status = loop.status();
            assertThat(status.numRunning() + status.numWaiting()).isEqualTo(12);
            gate.open(1000);
            for (RecordingSink sink : sinks) {
                expectFinished(sink, FinishReason.LENGTH);
            }
            assertThat(refused.numFinishes()).isZero();
            // A place is free as soon as its sink was told: no refusal in between.
            for (int i = 0; i < 50; i++) {
                List<RecordingSink> all = new ArrayList<>();
                List<GenerationRequest> requests = new ArrayList<>();
                for (int k = 0; k < 12; k++) {
                    all.add(new RecordingSink());
                    requests.add(request(k, 2, all.getLast()));
                }
                gate.open(100);
                loop.submitAll(requests);
                for (RecordingSink sink : all) {
                    expectFinished(sink, FinishReason.LENGTH);
                }
            }
            assertThatThrownBy(() -> loop.submitAll(java.util.Collections.nCopies(13, request(1, 5, refused))))
                    .isInstanceOfSatisfying(RejectedException.class, e -> {
                        assertThat(e.retryAfterSeconds()).isZero();
                        assertThat(e.kind()).isEqualTo(RejectedException.Kind.TOO_MANY);
                    });
        }
    }

    @Test
    void whatCanNeverRunIsRefusedWithTheNumbers() {
        FakeEngine engine = FakeEngine.builder().maxModelLen(512).blocks(10, 16).build();
        try (EngineLoop loop = start(engine, 4)) {
            expectTooLong(loop, 512, 1, "512 tokens");
            expectTooLong(loop, 513, 0, "513 tokens");
            expectTooLong(loop, 100, 100, "need 199 places in the KV cache, which has 160 (10 blocks of 16)");
            expectTooLong(loop, 161, 1, "need 161");
            assertThatThrownBy(() -> loop.submit(new GenerationRequest(new int[] {5, 1000}, SamplingParams.greedy(1), new RecordingSink())))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("token 1000 at position 1");
            assertThatThrownBy(() -> loop.submit(new GenerationRequest(new int[0], SamplingParams.greedy(1), new RecordingSink())))
                    .isInstanceOf(IllegalArgumentException.class);
            assertThat(loop.status().numWaiting()).isZero();
        }
    }

    private static void expectTooLong(EngineLoop loop, int numPrompt, int maxTokens, String numbers) {
        assertThatThrownBy(() -> loop.submit(new GenerationRequest(Harness.prompt(1, numPrompt), SamplingParams.greedy(maxTokens),
                new RecordingSink()))).isInstanceOfSatisfying(RejectedException.class, e -> {
                    assertThat(e.kind()).isEqualTo(RejectedException.Kind.TOO_LONG);
                    assertThat(e.retryAfterSeconds()).isZero();
                    assertThat(e).hasMessageContaining(numbers);
                });
    }

    @Test
    void anAbortTakesEffectWithinOneStep() throws Exception {
        Gate gate = new Gate();
        FakeEngine engine = FakeEngine.builder().maxNumSeqs(1).hook(gate).build();
        RecordingSink running = new RecordingSink();
        RecordingSink waiting = new RecordingSink();
        RecordingSink next = new RecordingSink();
        try (EngineLoop loop = start(engine, 4)) {
            RequestHandle first = loop.submit(request(1, 400, running));
            gate.reached.await();
            RequestHandle second = loop.submit(request(2, 400, waiting));
            loop.submit(request(3, 2, next));
            gate.open(3);
            assertThat(running.awaitFirstToken()).isTrue();
            second.abort();
            first.abort();
            first.abort();
            // At most the step in progress and the three let through; without the aborts this would take 800 steps.
            gate.open(5);
            expectFinished(running, FinishReason.ABORT);
            expectFinished(waiting, FinishReason.ABORT);
            expectFinished(next, FinishReason.LENGTH);
            assertThat(waiting.tokens()).isEmpty();
            first.abort();
            loop.checkIntegrity();
            assertThat(loop.status().numFreeBlocks()).isEqualTo(64);
        }
        assertThat(engine.numLive()).isZero();
    }

    @Test
    void aThrowingSinkCostsItsOwnRequestOnly() throws Exception {
        FakeEngine engine = FakeEngine.builder().build();
        RecordingSink good = new RecordingSink();
        AtomicReference<FinishReason> reason = new AtomicReference<>();
        try (EngineLoop loop = start(engine, 10)) {
            // Together, so that the good one still runs when the other fails.
            loop.submitAll(List.of(request(1, 100, good), request(2, 100, new TokenSink() {
                private int numTokens;

                @Override
                public void onToken(int tokenId, StepResult result, int row) {
                    if (++numTokens == 3) {
                        throw new OutOfMemoryError("a test sink that fails");
                    }
                }

                @Override
                public void onFinish(FinishReason why, int stopTokenId, String message) {
                    reason.set(why);
                    throw new IllegalStateException("a test sink that fails at its end too");
                }
            })));
            expectFinished(good, FinishReason.LENGTH);
            assertThat(good.tokens()).hasSize(100);
            assertThat(reason).hasValue(FinishReason.ABORT);
            loop.checkIntegrity();
            assertThat(loop.status().alive()).isTrue();
            assertThat(loop.status().numFreeBlocks()).isEqualTo(64);
        }
        assertThat(engine.numLive()).isZero();
    }

    @Test
    void aSinkMaySubmitAndShutDown() throws Exception {
        FakeEngine engine = FakeEngine.builder().build();
        RecordingSink second = new RecordingSink();
        AtomicReference<EngineLoop> self = new AtomicReference<>();
        try (EngineLoop loop = start(engine, 10)) {
            self.set(loop);
            loop.submit(request(1, 5, new TokenSink() {
                @Override
                public void onToken(int tokenId, StepResult result, int row) {}

                @Override
                public void onFinish(FinishReason why, int stopTokenId, String message) {
                    self.get().submit(request(2, 5, second));
                    self.get().shutdown(Duration.ofSeconds(30));
                }
            }));
            expectFinished(second, FinishReason.LENGTH);
        }
    }

    @Test
    void shutdownLetsRunningRequestsFinish() throws Exception {
        FakeEngine engine = FakeEngine.builder().build();
        List<RecordingSink> sinks = new ArrayList<>();
        EngineLoop loop = start(engine, 20);
        for (int i = 0; i < 16; i++) {
            sinks.add(new RecordingSink());
            loop.submit(request(i, 200, sinks.getLast()));
        }
        loop.shutdown(Duration.ofSeconds(30));
        for (RecordingSink sink : sinks) {
            expectFinished(sink, FinishReason.LENGTH);
        }
        assertThat(loop.status().alive()).isFalse();
        assertThat(loop.status().accepting()).isFalse();
        assertThat(engine.numLive()).isZero();
        expectRefused(loop, RejectedException.Kind.SHUTTING_DOWN);
        loop.shutdown(Duration.ZERO);
    }

    @Test
    void shutdownEndsTheRestAfterTheGrace() throws Exception {
        // Every step waits a little, so that 500 of them outlast the grace by far.
        FakeEngine engine = FakeEngine.builder().maxNumSeqs(2).hook(plan -> java.util.concurrent.locks.LockSupport.parkNanos(1_000_000)).build();
        List<RecordingSink> sinks = new ArrayList<>();
        EngineLoop loop = start(engine, 20);
        for (int i = 0; i < 6; i++) {
            sinks.add(new RecordingSink());
            loop.submit(request(i, 450, sinks.getLast()));
        }
        assertThat(sinks.getFirst().awaitFirstToken()).isTrue();
        loop.shutdown(Duration.ofMillis(20));
        for (RecordingSink sink : sinks) {
            expectFinished(sink, FinishReason.ABORT);
        }
        assertThat(engine.numLive()).isZero();
        assertThat(loop.status().numFreeBlocks()).isEqualTo(64);
        assertThat(loop.status().stalledNanos()).isZero();
    }

    @Test
    void anIdleLoopShutsDownAtOnce() {
        EngineLoop loop = start(FakeEngine.builder().build(), 1);
        long start = System.nanoTime();
        loop.shutdown(Duration.ofSeconds(600));
        assertThat(Duration.ofNanos(System.nanoTime() - start)).isLessThan(Duration.ofSeconds(5));
    }

    /** A step that never ends is given up on once: whoever shuts down next does not wait for it all over again. */
    @Test
    void aStuckStepIsWaitedForOnce() throws Exception {
        Gate gate = new Gate();
        RecordingSink sink = new RecordingSink();
        EngineLoop loop = EngineLoop.start(FakeEngine.builder().hook(gate).build(), new SchedulerConfig(8, 256, 256, 4),
                SchedulerListener.NONE, LoopOptions.defaults().withLastStep(Duration.ofMillis(400)));
        loop.submit(request(1, 3, sink));
        gate.reached.await();
        long start = System.nanoTime();
        loop.shutdown(Duration.ofMillis(50));
        long first = System.nanoTime() - start;
        assertThat(Duration.ofNanos(first)).isGreaterThanOrEqualTo(Duration.ofMillis(450));
        loop.shutdown(Duration.ofHours(1));
        loop.shutdown(Duration.ZERO);
        assertThat(Duration.ofNanos(System.nanoTime() - start - first)).isLessThan(Duration.ofMillis(400));
        assertThat(loop.status().alive()).isTrue();
        // Its reader has not been kept waiting for a step that may never end.
        expectFinished(sink, FinishReason.ABORT);
        gate.open(10);
    }

    private static void expectRefused(EngineLoop loop, RejectedException.Kind kind) {
        RecordingSink sink = new RecordingSink();
        assertThatThrownBy(() -> loop.submit(request(1, 5, sink)))
                .isInstanceOfSatisfying(RejectedException.class, e -> assertThat(e.kind()).isEqualTo(kind));
        assertThat(sink.numFinishes()).isZero();
    }

    @Test
    void anEngineFailureEndsEveryRequestOnceAndIsTold() throws Exception {
        int[] steps = {0};
        FakeEngine engine = FakeEngine.builder().maxNumSeqs(3).hook(plan -> {
            if (++steps[0] == 20) {
                throw new StackOverflowError("a test failure");
            }
        }).build();
        List<RecordingSink> sinks = new ArrayList<>();
        List<GenerationRequest> requests = new ArrayList<>();
        for (int i = 0; i < 9; i++) {
            sinks.add(new RecordingSink());
            requests.add(request(i, i == 0 ? 3 : 300, sinks.getLast()));
        }
        try (EngineLoop loop = start(engine, 20)) {
            loop.submitAll(requests);
            expectFinished(sinks.getFirst(), FinishReason.LENGTH);
            for (RecordingSink sink : sinks.subList(1, 9)) {
                expectFinished(sink, FinishReason.ERROR);
                assertThat(sink.message).contains("a test failure");
            }
            assertThat(loop.status().alive()).isFalse();
            assertThat(loop.status().failure()).contains("a test failure");
            expectRefused(loop, RejectedException.Kind.ENGINE_DEAD);
        }
        assertThat(engine.numLive()).as("each sequence that ran was ended").isZero();
    }

    @Test
    void aStalledStepShowsInTheStatus() throws Exception {
        Gate gate = new Gate();
        try (EngineLoop loop = start(FakeEngine.builder().hook(gate).build(), 4)) {
            assertThat(loop.status().stalledNanos()).isZero();
            RecordingSink sink = new RecordingSink();
            loop.submit(request(1, 3, sink));
            gate.reached.await();
            long first = loop.status().stalledNanos();
            java.util.concurrent.locks.LockSupport.parkNanos(2_000_000);
            assertThat(loop.status().stalledNanos()).isGreaterThan(first).isLessThan(Duration.ofSeconds(20).toNanos());
            gate.open(10);
            expectFinished(sink, FinishReason.LENGTH);
            assertThat(loop.status().stalledNanos()).isZero();
        }
    }
}

package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.SamplingParams;
import io.millrace.engine.StepResult;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Property: a sink or a metrics listener that does not return keeps nobody waiting for ever, and leaks nothing. */
@Timeout(60)
class StalledSinkTest {
    // Held, or the setting would be collected with the logger: the reports below are meant.
    private static final Logger LOG = Logger.getLogger("io.millrace.scheduler");

    @BeforeAll
    static void silence() {
        LOG.setLevel(Level.OFF);
    }

    @AfterAll
    static void speak() {
        LOG.setLevel(null);
    }

    private final FakeEngine engine = FakeEngine.builder().maxNumSeqs(4).build();
    private final Semaphore release = new Semaphore(0);

    private EngineLoop start(boolean overlapped, SchedulerListener listener) {
        return EngineLoop.start(engine, new SchedulerConfig(4, 256, 256, 20), listener,
                LoopOptions.defaults().withStepTimeout(Duration.ofMillis(100)).withAsyncScheduling(overlapped));
    }

    private static SamplingParams sampling() {
        return SamplingParams.greedy(20);
    }

    private static GenerationRequest request(int seed, TokenSink sink) {
        return new GenerationRequest(Harness.prompt(seed, 10 + seed), sampling(), sink);
    }

    private static void await(String what, BooleanSupplier condition) {
        long deadline = System.nanoTime() + 20_000_000_000L;
        while (!condition.getAsBoolean()) {
            assertThat(deadline - System.nanoTime()).as(what).isPositive();
            LockSupport.parkNanos(1_000_000);
        }
    }

    private void expectServed(EngineLoop loop, int seed) throws InterruptedException {
        RecordingSink next = new RecordingSink();
        loop.submit(request(seed, next));
        assertThat(next.awaitEnd()).isTrue();
        assertThat(next.tokens()).isEqualTo(engine.expectedTokens(Harness.prompt(seed, 10 + seed), sampling()));
        assertThat(next.fault()).isNull();
    }

    /** Waits for something that does not come, at its third token or at its end. */
    private final class Stuck implements TokenSink {
        private final boolean atItsEnd;
        private final boolean interruptible;
        private final AtomicInteger numFinishes = new AtomicInteger();
        private int numTokens;

        Stuck(boolean atItsEnd, boolean interruptible) {
            this.atItsEnd = atItsEnd;
            this.interruptible = interruptible;
        }

        private void hang() {
            try {
                if (interruptible) {
                    new CountDownLatch(1).await();
                } else {
                    release.acquireUninterruptibly();
                }
            } catch (InterruptedException e) {
                throw new IllegalStateException("a test sink that was interrupted", e);
            }
        }

        @Override
        public void onToken(int tokenId, StepResult result, int row) {
            if (++numTokens == 3 && !atItsEnd) {
                hang();
            }
        }

        @Override
        public void onFinish(FinishReason reason, int stopTokenId, String message) {
            numFinishes.incrementAndGet();
            if (atItsEnd) {
                hang();
            }
        }
    }

    /** One that waits is interrupted; that ends its request, and the others get all their tokens. */
    @ParameterizedTest
    @CsvSource({"false,false", "false,true", "true,false", "true,true"})
    void aSinkThatWaitsCostsItsOwnRequest(boolean atItsEnd, boolean overlapped) throws Exception {
        try (EngineLoop loop = start(overlapped, SchedulerListener.NONE)) {
            Stuck stuck = new Stuck(atItsEnd, true);
            List<RecordingSink> others = new ArrayList<>();
            loop.submit(request(0, stuck));
            for (int i = 1; i < 6; i++) {
                others.add(new RecordingSink());
                loop.submit(request(i, others.getLast()));
            }
            for (int i = 1; i < 6; i++) {
                RecordingSink sink = others.get(i - 1);
                assertThat(sink.awaitEnd()).isTrue();
                assertThat(sink.tokens()).isEqualTo(engine.expectedTokens(Harness.prompt(i, 10 + i), sampling()));
                assertThat(sink.reason).isEqualTo(FinishReason.LENGTH);
                assertThat(sink.fault()).isNull();
            }
            await("all is free", () -> loop.status().numFreeBlocks() == 64 && loop.status().stall() == null);
            assertThat(stuck.numFinishes).hasValue(1);
            expectServed(loop, 7);
            loop.checkIntegrity();
        }
        assertThat(engine.numLive()).isZero();
    }

    /** One that cannot be interrupted keeps the engine thread, but no client waits for it; when it comes back, so does the engine. */
    @ParameterizedTest
    @CsvSource({"false,false", "false,true", "true,false", "true,true"})
    void clientsBehindASinkThatKeepsTheThreadAreTold(boolean atItsEnd, boolean overlapped) throws Exception {
        try (EngineLoop loop = start(overlapped, SchedulerListener.NONE)) {
            Stuck stuck = new Stuck(atItsEnd, false);
            List<RecordingSink> others = new ArrayList<>();
            // The one that gets stuck comes first and asks for less, so that the others are in the middle of their answers.
            loop.submit(new GenerationRequest(Harness.prompt(0, 10), SamplingParams.greedy(4), stuck));
            for (int i = 1; i < 6; i++) {
                others.add(new RecordingSink());
                loop.submit(request(i, others.getLast()));
            }
            for (RecordingSink sink : others) {
                assertThat(sink.awaitEnd()).isTrue();
                assertThat(sink.reason).isEqualTo(FinishReason.ERROR);
                assertThat(sink.message).startsWith("SCH-019");
            }
            assertThat(loop.status().stall()).isNotNull();
            assertThatThrownBy(() -> loop.submit(request(1, new RecordingSink()))).isInstanceOfSatisfying(RejectedException.class,
                    e -> assertThat(e.kind()).isEqualTo(RejectedException.Kind.STALLED));

            release.release();
            await("the engine is back", () -> loop.status().stall() == null && loop.status().numFreeBlocks() == 64);
            assertThat(stuck.numFinishes).hasValue(1);
            expectServed(loop, 7);
            loop.checkIntegrity();
            for (RecordingSink sink : others) {
                assertThat(sink.numFinishes()).isEqualTo(1);
                assertThat(sink.fault()).isNull();
            }
        }
        assertThat(engine.numLive()).isZero();
    }

    /** An abort ends in the sink that gets stuck; requests that the engine thread took over together with it are told, too. */
    @Test
    void whatWasTakenWithTheCommandThatGotStuckIsTold() throws Exception {
        Semaphore steps = new Semaphore(0);
        FakeEngine held = FakeEngine.builder().maxNumSeqs(4).hook(plan -> steps.acquireUninterruptibly()).build();
        AtomicReference<EngineLoop> self = new AtomicReference<>();
        AtomicReference<RequestHandle> first = new AtomicReference<>();
        List<RecordingSink> later = List.of(new RecordingSink(), new RecordingSink(), new RecordingSink());
        try (EngineLoop loop = EngineLoop.start(held, new SchedulerConfig(4, 256, 256, 20), new SchedulerListener() {
            @Override
            public void onStep(StepStats stats) {
                // Behind the step and in front of the next look at the commands: they are taken as one chain.
                if (stats.stepId() == 1) {
                    first.get().abort();
                    for (RecordingSink sink : later) {
                        self.get().submit(request(1, sink));
                    }
                }
            }
        }, LoopOptions.defaults().withStepTimeout(Duration.ofMillis(100)))) {
            self.set(loop);
            Stuck stuck = new Stuck(true, false);
            first.set(loop.submit(request(0, stuck)));
            steps.release(1000);
            for (RecordingSink sink : later) {
                assertThat(sink.awaitEnd()).isTrue();
                assertThat(sink.message).startsWith("SCH-019");
            }
            release.release();
            await("the engine is back", () -> loop.status().stall() == null && loop.status().numFreeBlocks() == 64);
            expectServed(loop, 7);
            loop.checkIntegrity();
            assertThat(stuck.numFinishes).hasValue(1);
            assertThat(later).allSatisfy(sink -> assertThat(sink.numFinishes()).isEqualTo(1));
        }
        assertThat(held.numLive()).isZero();
    }

    /** Shutting down does not wait for it either, be it stuck in the middle or when it is told of the shutdown; and what is closed stays closed. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void shutdownDoesNotWaitForAStuckSink(boolean atItsEnd) throws Exception {
        FakeEngine slow = FakeEngine.builder().maxNumSeqs(4).hook(plan -> LockSupport.parkNanos(1_000_000)).build();
        EngineLoop loop = EngineLoop.start(slow, new SchedulerConfig(4, 256, 256, 20), SchedulerListener.NONE,
                LoopOptions.defaults().withLastStep(Duration.ofMillis(200)));
        RecordingSink other = new RecordingSink();
        SamplingParams longer = SamplingParams.greedy(400);
        loop.submitAll(List.of(new GenerationRequest(Harness.prompt(0, 10), longer, new Stuck(atItsEnd, false)),
                new GenerationRequest(Harness.prompt(1, 11), longer, other)));
        assertThat(other.awaitFirstToken()).isTrue();
        loop.shutdown(Duration.ofMillis(50));
        assertThat(other.awaitEnd()).isTrue();
        assertThat(other.reason).isEqualTo(FinishReason.ABORT);
        if (atItsEnd) {
            assertThat(CompletableFuture.runAsync(loop::checkIntegrity)).failsWithin(Duration.ofSeconds(20)).withThrowableOfType(ExecutionException.class)
                    .withMessageContaining("the engine loop has ended");
        }
        release.release();
        await("the thread ends", () -> !loop.status().alive());
    }

    /** A listener is interrupted and dropped, or only dropped; serving goes on without metrics. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void aListenerThatDoesNotReturnIsDropped(boolean interruptible) throws Exception {
        AtomicInteger numCalls = new AtomicInteger();
        try (EngineLoop loop = start(false, new SchedulerListener() {
            @Override
            public void onNextToken(long nanos) {
                if (numCalls.incrementAndGet() == 5) {
                    new Stuck(true, interruptible).hang();
                }
            }
        })) {
            List<RecordingSink> sinks = new ArrayList<>();
            for (int i = 0; i < 4; i++) {
                sinks.add(new RecordingSink());
                loop.submit(request(i, sinks.getLast()));
            }
            for (RecordingSink sink : sinks) {
                assertThat(sink.awaitEnd()).isTrue();
                assertThat(sink.reason).isEqualTo(interruptible ? FinishReason.LENGTH : FinishReason.ERROR);
            }
            release.release();
            await("the engine is back", () -> loop.status().stall() == null && loop.status().numFreeBlocks() == 64);
            expectServed(loop, 7);
            loop.checkIntegrity();
            assertThat(numCalls).hasValue(5);
            assertThat(sinks).as("no token after the end").allSatisfy(sink -> assertThat(sink.fault()).isNull());
        }
    }
}

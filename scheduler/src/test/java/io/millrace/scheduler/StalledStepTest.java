package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.millrace.engine.EngineException;
import io.millrace.engine.FakeEngine;
import io.millrace.engine.ForwardingEngine;
import io.millrace.engine.SamplingParams;
import io.millrace.engine.StepResult;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Property: an engine whose step does not return keeps nobody waiting for ever, and one that comes back serves on with nothing leaked. */
@Timeout(60)
class StalledStepTest {
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

    private final Semaphore steps = new Semaphore(0);
    private final FakeEngine engine = FakeEngine.builder().maxNumSeqs(4).hook(plan -> steps.acquireUninterruptibly()).build();

    private EngineLoop start() {
        return EngineLoop.start(engine, new SchedulerConfig(4, 256, 256, 20), SchedulerListener.NONE,
                LoopOptions.defaults().withStepTimeout(Duration.ofMillis(100)));
    }

    private static GenerationRequest request(int seed, TokenSink sink) {
        return new GenerationRequest(Harness.prompt(seed, 10 + seed), SamplingParams.greedy(20), sink);
    }

    private static void await(String what, BooleanSupplier condition) {
        long deadline = System.nanoTime() + 20_000_000_000L;
        while (!condition.getAsBoolean()) {
            assertThat(deadline - System.nanoTime()).as(what).isPositive();
            LockSupport.parkNanos(1_000_000);
        }
    }

    @Test
    void clientsOfAStuckStepAreToldAndTheEngineServesOnWhenItComesBack() throws Exception {
        try (EngineLoop loop = start()) {
            List<RecordingSink> sinks = new ArrayList<>();
            for (int i = 0; i < 6; i++) {
                sinks.add(new RecordingSink());
                loop.submit(request(i, sinks.getLast()));
            }
            steps.release(3);
            assertThat(sinks.getFirst().awaitFirstToken()).isTrue();
            await("health fails", () -> loop.status().stall() != null);
            // While it is only a stall, work is taken: it may pass.
            sinks.add(new RecordingSink());
            RequestHandle late = loop.submit(request(6, sinks.getLast()));
            for (RecordingSink sink : sinks) {
                assertThat(sink.awaitEnd()).isTrue();
                assertThat(sink.reason).isEqualTo(FinishReason.ERROR);
                assertThat(sink.message).startsWith("SCH-019");
            }
            assertThatThrownBy(() -> loop.submit(request(1, new RecordingSink()))).isInstanceOfSatisfying(RejectedException.class, e -> {
                assertThat(e.kind()).isEqualTo(RejectedException.Kind.STALLED);
                assertThat(e.retryAfterSeconds()).isPositive();
            });
            late.abort();
            assertThat(loop.status().alive()).isTrue();

            steps.release(1000);
            await("steps advance again", () -> loop.status().stall() == null && loop.status().numFreeBlocks() == 64);
            RecordingSink next = new RecordingSink();
            loop.submit(request(7, next));
            assertThat(next.awaitEnd()).isTrue();
            assertThat(next.tokens()).isEqualTo(engine.expectedTokens(Harness.prompt(7, 17), SamplingParams.greedy(20)));
            loop.checkIntegrity();
            for (int i = 0; i < sinks.size(); i++) {
                assertThat(sinks.get(i).numFinishes()).isEqualTo(1);
                assertThat(sinks.get(i).fault()).isNull();
                int[] tokens = sinks.get(i).tokens();
                assertThat(tokens).isEqualTo(Arrays.copyOf(engine.expectedTokens(Harness.prompt(i, 10 + i), SamplingParams.greedy(20)), tokens.length));
            }
        }
        assertThat(engine.numLive()).isZero();
    }

    @Test
    void aPassingStallCostsNothing() throws Exception {
        try (EngineLoop loop = start()) {
            RecordingSink sink = new RecordingSink();
            loop.submit(request(1, sink));
            await("health fails", () -> loop.status().stall() != null);
            assertThat(loop.status().stall()).contains("no step has finished");
            steps.release(1000);
            await("health is good again", () -> loop.status().stall() == null);
            assertThat(sink.awaitEnd()).isTrue();
            assertThat(sink.reason).isIn(FinishReason.LENGTH, FinishReason.ERROR);
        }
    }

    /** The step behind the stuck one fails. Nobody waits for it any more, and yet the engine is not asked for another. */
    @Test
    void aFailureBehindAStuckStepIsNotLost() throws Exception {
        AtomicInteger numAwaited = new AtomicInteger();
        FakeEngine computing = FakeEngine.builder().maxNumSeqs(4).build();
        ForwardingEngine failing = new ForwardingEngine(computing) {
            @Override
            public StepResult await(long ticket) {
                int number = numAwaited.incrementAndGet();
                if (number == 3) {
                    steps.acquireUninterruptibly();
                }
                StepResult result = super.await(ticket);
                if (number == 4) {
                    throw new EngineException("STEP-002", "a test failure");
                }
                return result;
            }
        };
        try (EngineLoop loop = EngineLoop.start(failing, new SchedulerConfig(4, 256, 256, 20), SchedulerListener.NONE,
                LoopOptions.defaults().withStepTimeout(Duration.ofMillis(100)).withAsyncScheduling(true))) {
            RecordingSink sink = new RecordingSink();
            loop.submit(request(1, sink));
            assertThat(sink.awaitEnd()).isTrue();
            assertThat(sink.message).startsWith("SCH-019");
            steps.release();
            await("the engine thread ends", () -> !loop.status().alive());
            assertThat(loop.status().failure()).contains("a test failure");
            assertThat(sink.numFinishes()).isEqualTo(1);
        }
        assertThat(computing.numLive()).isZero();
    }

    /** An engine thread that is between two calls when shutdown gives up on it can be replaced in neither; it is met again in the next. */
    @Test
    void whoIsMetBetweenTwoCallsAtTheEndIsToldInTheNext() throws Exception {
        Semaphore between = new Semaphore(0);
        AtomicInteger numAwaited = new AtomicInteger();
        FakeEngine computing = FakeEngine.builder().maxNumSeqs(4).build();
        ForwardingEngine stuck = new ForwardingEngine(computing) {
            @Override
            public StepResult await(long ticket) {
                if (numAwaited.incrementAndGet() > 1) {
                    steps.acquireUninterruptibly();
                }
                return super.await(ticket);
            }

            @Override
            public long runnerThreadId() {
                between.acquireUninterruptibly();
                return super.runnerThreadId();
            }
        };
        EngineLoop loop = EngineLoop.start(stuck, new SchedulerConfig(4, 256, 256, 20), SchedulerListener.NONE,
                LoopOptions.defaults().withAsyncScheduling(true).withLastStep(Duration.ofMillis(1)));
        RecordingSink sink = new RecordingSink();
        loop.submit(request(1, sink));
        assertThat(sink.awaitFirstToken()).isTrue();
        Thread shutdown = Thread.ofPlatform().start(() -> loop.shutdown(Duration.ZERO));
        await("shutdown looks for it", () -> Arrays.stream(shutdown.getStackTrace()).anyMatch(f -> f.getMethodName().equals("parkNanos")));
        between.release(1000);
        assertThat(sink.awaitEnd()).isTrue();
        assertThat(sink.reason).isEqualTo(FinishReason.ABORT);
        shutdown.join(20_000);
        assertThat(numAwaited).as("stuck in the second step").hasValue(2);
        steps.release(1000);
        await("the engine thread ends", () -> !loop.status().alive() && loop.status().numFreeBlocks() == 64);
        assertThat(sink.numFinishes()).isEqualTo(1);
        assertThat(sink.fault()).isNull();
    }
}

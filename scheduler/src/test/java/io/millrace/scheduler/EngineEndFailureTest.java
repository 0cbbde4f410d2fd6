package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.ForwardingEngine;
import io.millrace.engine.SamplingParams;
import io.millrace.engine.Sequence;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicReference;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Property: every accepted request ends exactly once, also when the engine fails between steps, with commands still in hand. */
@Timeout(60)
class EngineEndFailureTest {
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

    /** Fails at the end of the sequence with {@code id}. */
    private static final class FailingEnd extends ForwardingEngine {
        private final long id;
        private final Throwable failure;

        FailingEnd(FakeEngine engine, long id, Throwable failure) {
            super(engine);
            this.id = id;
            this.failure = failure;
        }

        @Override
        public void end(Sequence sequence) {
            engine.end(sequence);
            if (sequence.id() == id && failure instanceof Error error) {
                throw error;
            } else if (sequence.id() == id && failure instanceof RuntimeException exception) {
                throw exception;
            }
        }
    }

    private static GenerationRequest request(int maxTokens, TokenSink sink) {
        return new GenerationRequest(Harness.prompt(1, 10), SamplingParams.greedy(maxTokens), sink);
    }

    /** One request runs; while its step is held, its abort and, behind it, {@code later} are queued: the loop takes them as one chain. */
    private static EngineLoop abortWithSubmitsBehind(Throwable failure, RecordingSink first, List<RecordingSink> later) throws Exception {
        AtomicReference<EngineLoop> self = new AtomicReference<>();
        AtomicReference<RequestHandle> handle = new AtomicReference<>();
        Semaphore steps = new Semaphore(0);
        CountDownLatch reached = new CountDownLatch(1);
        FakeEngine engine = FakeEngine.builder().hook(plan -> {
            reached.countDown();
            steps.acquireUninterruptibly();
        }).build();
        EngineLoop loop = EngineLoop.start(new FailingEnd(engine, 1, failure), new SchedulerConfig(8, 256, 256, 20), new SchedulerListener() {
            @Override
            public void onStep(StepStats stats) {
                // Between the step and the next look at the commands: the running request is still there to be aborted.
                if (stats.stepId() == 1) {
                    handle.get().abort();
                    for (RecordingSink sink : later) {
                        self.get().submit(request(5, sink));
                    }
                }
            }
        });
        self.set(loop);
        handle.set(loop.submit(request(400, first)));
        reached.await();
        steps.release(1000);
        return loop;
    }

    @Test
    void whatStandsBehindAFailedCommandIsEndedToo() throws Exception {
        RecordingSink first = new RecordingSink();
        List<RecordingSink> later = new ArrayList<>(List.of(new RecordingSink(), new RecordingSink(), new RecordingSink()));
        try (EngineLoop loop = abortWithSubmitsBehind(new StackOverflowError("a test failure"), first, later)) {
            assertThat(first.awaitEnd()).isTrue();
            for (RecordingSink sink : later) {
                assertThat(sink.awaitEnd()).as("ended").isTrue();
                assertThat(sink.reason).isEqualTo(FinishReason.ERROR);
                assertThat(sink.message).contains("a test failure");
                assertThat(sink.numFinishes()).isEqualTo(1);
            }
            assertThat(first.numFinishes()).isEqualTo(1);
            assertThat(loop.status().numRunning() + loop.status().numWaiting()).isZero();
            assertThat(loop.status().failure()).contains("a test failure");
        }
    }

    @Test
    void anExceptionAtTheEndOfOneRequestCostsTheOthersNothing() throws Exception {
        RecordingSink first = new RecordingSink();
        List<RecordingSink> later = List.of(new RecordingSink(), new RecordingSink());
        try (EngineLoop loop = abortWithSubmitsBehind(new IllegalStateException("a test failure"), first, later)) {
            assertThat(first.awaitEnd()).isTrue();
            assertThat(first.reason).isEqualTo(FinishReason.ABORT);
            for (RecordingSink sink : later) {
                assertThat(sink.awaitEnd()).as("ended").isTrue();
                assertThat(sink.reason).isEqualTo(FinishReason.LENGTH);
                assertThat(sink.tokens()).hasSize(5);
            }
            assertThat(loop.status().alive()).isTrue();
            loop.checkIntegrity();
            assertThat(loop.status().numFreeBlocks()).isEqualTo(loop.limits().numBlocks());
        }
    }
}

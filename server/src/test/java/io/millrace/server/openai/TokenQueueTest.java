package io.millrace.server.openai;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.management.ThreadMXBean;
import io.millrace.engine.StepResult;
import io.millrace.engine.UnscoredResult;
import io.millrace.scheduler.FinishReason;
import java.lang.management.ManagementFactory;
import org.junit.jupiter.api.Test;

/** Guards the hand-over from the engine thread: every token once and in order, whoever is faster, and no allocation while the reader keeps up. */
class TokenQueueTest {
    /** Row r: log-probability -r, alternatives r, r + 1, ... */
    private static final StepResult ROWS = new UnscoredResult() {
        @Override
        public int token(int i) {
            return i;
        }

        @Override
        public float logprob(int r) {
            return -r;
        }

        @Override
        public int numTop(int r) {
            return 3;
        }

        @Override
        public int topId(int r, int k) {
            return r + k;
        }

        @Override
        public float topLogprob(int r, int k) {
            return -r - k;
        }
    };

    @Test
    void everyTokenArrivesOnceInOrderWithItsScores() throws InterruptedException {
        int count = 200_000;
        Signal signal = new Signal(Thread.currentThread());
        TokenQueue watched = new TokenQueue(signal, 2, null);
        Thread engine = Thread.ofPlatform().start(() -> {
            for (int i = 0; i < count; i++) {
                watched.onToken(i, ROWS, i);
            }
            watched.onFinish(FinishReason.STOP, 7, null);
        });
        int expected = 0;
        while (true) {
            signal.await(() -> watched.hasToken() || watched.isFinished(), Long.MAX_VALUE);
            boolean ended = watched.isFinished();
            while (watched.hasToken()) {
                if (watched.token() != expected || watched.logprob() != -expected || watched.numTop() != 2
                        || watched.topId(1) != expected + 1 || watched.topLogprob(1) != -expected - 1) {
                    throw new AssertionError("token " + watched.token() + " instead of " + expected);
                }
                expected++;
                watched.advance();
            }
            if (ended) {
                break;
            }
        }
        engine.join();
        assertThat(expected).isEqualTo(count);
        assertThat(watched.finishReason()).isEqualTo(FinishReason.STOP);
        assertThat(watched.stopTokenId()).isEqualTo(7);
    }

    @Test
    void aReaderThatKeepsUpMakesTheEngineThreadAllocateNothing() {
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        TokenQueue queue = new TokenQueue(new Signal(Thread.currentThread()), 5, null);
        for (int round = 0; round < 2; round++) {
            long before = threads.getCurrentThreadAllocatedBytes();
            for (int i = 0; i < 10_000; i++) {
                queue.onToken(i, ROWS, i);
                if (!queue.hasToken()) {
                    throw new AssertionError("token " + i + " is missing");
                }
                queue.advance();
            }
            long allocated = threads.getCurrentThreadAllocatedBytes() - before;
            if (round == 1) {
                assertThat(allocated).isLessThan(512); // the measurement itself
            }
        }
    }

    @Test
    void aReaderThatLagsLosesNothing() {
        TokenQueue queue = new TokenQueue(new Signal(Thread.currentThread()), -1, null);
        for (int i = 0; i < 1000; i++) {
            queue.onToken(i, ROWS, -1);
        }
        for (int i = 0; i < 1000; i++) {
            assertThat(queue.hasToken()).isTrue();
            assertThat(queue.token()).isEqualTo(i);
            queue.advance();
        }
        assertThat(queue.hasToken()).isFalse();
    }
}

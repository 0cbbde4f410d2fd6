package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.SamplingParams;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Property: under any interleaving of submits, aborts and the end, every accepted request ends exactly once and nothing leaks. */
@Timeout(1200)
class EngineLoopStressTest {
    private static final int NUM_THREADS = 8;
    private static final long NANOS = (1 + Long.getLong("millrace.stress.seconds", 1)) * 1_000_000_000L;

    private record Submitted(int[] prompt, SamplingParams sampling, RecordingSink sink, boolean aborted) {}

    @ParameterizedTest(name = "overlapped {0}")
    @ValueSource(booleans = {false, true})
    void eightThreadsSubmitAndAbortUntilTheEnd(boolean overlapped) throws Exception {
        FakeEngine engine = FakeEngine.builder().maxModelLen(96).blocks(24, 8).maxNumBatchedTokens(48).eosPermille(10).build();
        EngineLoop loop = EngineLoop.start(engine, new SchedulerConfig(8, 48, 20, 16), SchedulerListener.NONE,
                LoopOptions.defaults().withAsyncScheduling(overlapped));
        List<Submitted> all = Collections.synchronizedList(new ArrayList<>());
        AtomicLong numRefused = new AtomicLong();
        List<Throwable> failures = Collections.synchronizedList(new ArrayList<>());
        List<Thread> threads = new ArrayList<>();
        long end = System.nanoTime() + NANOS;
        for (int t = 0; t < NUM_THREADS; t++) {
            SplittableRandom random = new SplittableRandom(1000 + t);
            threads.add(Thread.ofVirtual().start(() -> {
                try {
                    while (System.nanoTime() < end) {
                        client(loop, random, all, numRefused);
                    }
                } catch (Throwable e) {
                    failures.add(e);
                }
            }));
        }
        for (Thread thread : threads) {
            thread.join();
        }
        assertThat(failures).isEmpty();
        if (loop.status().alive()) {
            loop.checkIntegrity();
        }
        // Whatever is still inside ends now.
        loop.close();
        assertThat(loop.status().failure()).isNull();
        assertThat(loop.status().numFreeBlocks()).isEqualTo(24);
        assertThat(engine.numLive()).isZero();
        long numWhole = 0;
        for (Submitted s : all) {
            assertThat(s.sink.numFinishes()).isEqualTo(1);
            assertThat(s.sink.fault()).isNull();
            int[] expected = engine.expectedTokens(s.prompt, s.sampling);
            if (s.sink.reason == FinishReason.ABORT) {
                int[] tokens = s.sink.tokens();
                assertThat(tokens).isEqualTo(Arrays.copyOf(expected, tokens.length));
            } else {
                assertThat(s.sink.tokens()).isEqualTo(expected);
                numWhole++;
            }
        }
        assertThat(numWhole).isPositive();
        System.out.printf("%d accepted, %d of them to the end, %d refused, %d steps, %d preemptions%n", all.size(), numWhole,
                numRefused.get(), loop.status().numSteps(), loop.status().numPreemptions());
    }

    private static void client(EngineLoop loop, SplittableRandom random, List<Submitted> all, AtomicLong numRefused)
            throws InterruptedException {
        int[] prompt = random.ints(1 + random.nextInt(50), 3, 1000).toArray();
        SamplingParams sampling = SamplingParams.builder().temperature(1).seed(random.nextLong()).maxTokens(random.nextInt(46)).build();
        RecordingSink sink = new RecordingSink();
        boolean aborts = random.nextInt(3) == 0;
        RequestHandle handle;
        try {
            handle = loop.submit(new GenerationRequest(prompt, sampling, sink));
        } catch (RejectedException e) {
            assertThat(e.kind()).isEqualTo(RejectedException.Kind.QUEUE_FULL);
            numRefused.incrementAndGet();
            Thread.sleep(1);
            return;
        }
        all.add(new Submitted(prompt, sampling, sink, aborts));
        if (aborts) {
            if (random.nextBoolean()) {
                Thread.yield();
            }
            handle.abort();
        } else if (random.nextBoolean()) {
            sink.awaitEnd();
        }
    }
}

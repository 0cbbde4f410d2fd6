package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.SamplingParams;
import io.millrace.engine.StepPlan;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Property: planning the next step while one runs changes nobody's tokens. Requests come alone or as choices of one prompt, end, are
 * aborted, pass their deadlines, lose their blocks and share prefixes in any order; each gets what it would get alone, nothing after its
 * end, and nothing leaks.
 */
@Timeout(120)
class OverlappedSteppingTest {
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

    /** One thread, the real scheduler, an engine with two steps under way; invariants are checked after every operation. */
    private static final class Pipeline {
        final FakeEngine engine;
        final Scheduler scheduler;
        final List<RequestState> requests = new ArrayList<>();
        private final ArrayDeque<StepPlan> plans = new ArrayDeque<>();
        private final ArrayDeque<Long> tickets = new ArrayDeque<>();
        long nanos = 1;
        long numOverlapped;
        long numDrawn;

        Pipeline(FakeEngine.Builder builder, int maxPrefillChunk, SchedulingPolicy policy) {
            engine = builder.build();
            scheduler = new Scheduler(engine, new SchedulerConfig(engine.limits().maxNumSeqs(), engine.limits().maxNumBatchedTokens(),
                    maxPrefillChunk, 1 << 20, true, QueueConfig.of(policy, 3)), () -> nanos, SchedulerListener.NONE, new IndexKey(7));
        }

        RequestState submit(int[] prompt, SamplingParams sampling, Terms terms) {
            return submit(prompt, sampling, terms, null, null);
        }

        /** @param leader the first choice for the same prompt; null for that one */
        RequestState submit(int[] prompt, SamplingParams sampling, Terms terms, String salt, RequestState leader) {
            RequestState request = new RequestState(requests.size() + 1, new GenerationRequest(prompt, sampling, new RecordingSink(), salt, terms),
                    engine.limits().blockSize(), nanos, null);
            if (leader != null) {
                request.follow(leader);
            }
            requests.add(request);
            scheduler.submit(request);
            return request;
        }

        boolean hasWork() {
            return scheduler.hasWork() || !plans.isEmpty();
        }

        void step() {
            nanos += 1000;
            boolean planned = plans.size() < 2 && !scheduler.waitsForSteps() && plan();
            if (plans.size() == 2 || !planned && !plans.isEmpty()) {
                int numTokens = plans.element().totalTokens();
                scheduler.settle(plans.remove(), engine.await(tickets.remove()));
                scheduler.retryAfter().onStep(numTokens, 1000);
            }
            scheduler.checkIntegrity();
        }

        private boolean plan() {
            StepPlan plan = scheduler.schedule();
            if (plan.isEmpty()) {
                assertThat(plans.isEmpty() && scheduler.hasWork()).as("nothing planned with %s", scheduler).isFalse();
                return false;
            }
            numOverlapped += plans.isEmpty() ? 0 : 1;
            for (int i = 0; i < plan.size(); i++) {
                numDrawn += plan.source(i) >= 0 ? 1 : 0;
            }
            plans.add(plan);
            tickets.add(engine.submit(plan));
            return true;
        }

        void drain() {
            for (long bound = 0; hasWork(); bound++) {
                step();
                assertThat(bound).isLessThan(1_000_000);
            }
            assertThat(scheduler.progress().numFreeBlocks).isEqualTo(engine.limits().numBlocks());
            assertThat(engine.numLive()).isZero();
        }
    }

    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8})
    void everyoneGetsTheTokensThatItWouldGetAlone(long seed) {
        Random random = new Random(seed);
        int blockSize = 1 << random.nextInt(5);
        int numSeqs = 1 + random.nextInt(12);
        int numBlocks = (64 + blockSize - 1) / blockSize + random.nextInt(160 / blockSize);
        Pipeline p = new Pipeline(FakeEngine.builder().maxModelLen(64).eosPermille(40).blocks(numBlocks, blockSize).maxNumSeqs(numSeqs)
                .maxNumBatchedTokens(1 + random.nextInt(60)).maxLogitRows(numSeqs + random.nextInt(20)), 1 + random.nextInt(40),
                SchedulingPolicy.values()[(int) (seed % SchedulingPolicy.values().length)]);
        for (int i = 0; i < 15_000; i++) {
            int op = random.nextInt(20);
            int numInside = p.requests.size() - (int) p.scheduler.progress().numFinished;
            if (op < 3 && numInside < 30) {
                int[] prompt = Harness.prompt(random.nextInt(4), 1 + random.nextInt(40));
                String salt = random.nextInt(5) == 0 ? "salt" : null;
                Terms terms = new Terms(random.nextInt(3), random.nextInt(3), random.nextInt(3) == 0 ? 1 + random.nextInt(60_000) : 0);
                RequestState leader = null;
                for (int n = random.nextInt(4) == 0 ? 1 + random.nextInt(5) : 1; n > 0; n--) {
                    RequestState choice = p.submit(prompt, SamplingParams.builder().temperature(random.nextInt(2)).seed(random.nextLong())
                            .maxTokens(random.nextInt(40)).minTokens(random.nextInt(4)).stopTokenIds(random.nextInt(1000))
                            .numPromptLogprobs(random.nextInt(3) == 0 ? 0 : -1).build(), terms, salt, leader);
                    leader = leader == null ? choice : leader;
                }
            } else if (op == 3 && numInside > 0) {
                RequestState victim = p.requests.get(p.requests.size() - 1 - random.nextInt(Math.min(30, p.requests.size())));
                if (random.nextBoolean()) {
                    p.scheduler.abort(victim);
                    p.scheduler.checkIntegrity();
                } else {
                    victim.abort();
                }
            } else if (p.hasWork()) {
                p.step();
            }
        }
        p.drain();
        int numTimedOut = 0;
        for (RequestState r : p.requests) {
            RecordingSink sink = (RecordingSink) r.sink;
            assertThat(sink.fault()).isNull();
            assertThat(sink.numFinishes()).isEqualTo(1);
            int[] prompt = Arrays.copyOf(r.sequence.tokenIds(), r.numPromptTokens());
            int[] expected = p.engine.expectedTokens(prompt, r.sequence.sampling());
            int[] tokens = sink.tokens();
            boolean cut = sink.reason == FinishReason.ABORT || sink.reason == FinishReason.TIMEOUT;
            assertThat(tokens).as("output of %s", r).isEqualTo(cut ? Arrays.copyOf(expected, tokens.length) : expected);
            assertThat(r.numOutputTokens()).as("a surplus token is not counted").isEqualTo(tokens.length);
            if (sink.reason == FinishReason.TIMEOUT) {
                numTimedOut++;
                assertThat(sink.message).matches("SCH-02[01].*");
                // Between two looks lies a step, of which one may be under way.
                assertThat(r.finishNanos() - r.deadlineNanos).as("ended late, %s", r).isLessThanOrEqualTo(2000);
            } else if (!cut) {
                assertThat(sink.scoredPositions()).hasSize(r.sequence.sampling().numPromptLogprobs() < 0 ? 0 : r.numPromptTokens() - 1);
            }
        }
        assertThat(numTimedOut).as("deadlines passed").isPositive();
        assertThat(p.numOverlapped).as("steps planned beside another").isPositive();
        assertThat(p.numDrawn).as("tokens taken from the step before").isPositive();
        System.out.printf("seed %d: %d requests, %d steps beside another, %d tokens from the step before, %d preemptions, %d past their deadlines%n",
                seed, p.requests.size(), p.numOverlapped, p.numDrawn, p.scheduler.progress().numPreemptions, numTimedOut);
    }

    /** Length is known beforehand and costs no surplus; an end that only the token tells costs one row in one step. */
    @Test
    void anEndCostsAtMostOneSurplusToken() {
        Pipeline byLength = new Pipeline(FakeEngine.builder(), 256, SchedulingPolicy.FCFS);
        byLength.submit(Harness.prompt(1, 10), SamplingParams.greedy(20), Terms.DEFAULT);
        byLength.drain();
        assertThat(byLength.engine.numComputedTokens()).isEqualTo(10 + 19);

        AtomicInteger drawn = new AtomicInteger();
        Pipeline byEos = new Pipeline(FakeEngine.builder().nextToken((sequence, hash) -> drawn.incrementAndGet() == 8 ? 2 : 5), 256,
                SchedulingPolicy.FCFS);
        RequestState request = byEos.submit(Harness.prompt(1, 10), SamplingParams.greedy(100), Terms.DEFAULT);
        byEos.drain();
        assertThat(((RecordingSink) request.sink).tokens()).hasSize(8).endsWith(2);
        assertThat(((RecordingSink) request.sink).stopTokenId).isEqualTo(2);
        assertThat(byEos.engine.numComputedTokens()).as("7 of 8 tokens are fed back, and one too many").isEqualTo(10 + 7 + 1);
    }

    @Test
    void aFailingStepEndsEveryoneOnce() throws Exception {
        for (int failingStep : new int[] {1, 2, 7, 20}) {
            int[] steps = {0};
            FakeEngine engine = FakeEngine.builder().maxNumSeqs(3).hook(plan -> {
                if (++steps[0] == failingStep) {
                    throw new IllegalStateException("a test failure");
                }
            }).build();
            List<RecordingSink> sinks = new ArrayList<>();
            List<GenerationRequest> requests = new ArrayList<>();
            for (int i = 0; i < 9; i++) {
                sinks.add(new RecordingSink());
                requests.add(new GenerationRequest(Harness.prompt(i, 10 + i), SamplingParams.greedy(i == 0 ? 3 : 300), sinks.getLast(), null));
            }
            try (EngineLoop loop = EngineLoop.start(engine, new SchedulerConfig(3, 256, 256, 20), SchedulerListener.NONE,
                    LoopOptions.defaults().withAsyncScheduling(true))) {
                loop.submitAll(requests);
                for (RecordingSink sink : sinks) {
                    assertThat(sink.awaitEnd()).isTrue();
                    assertThat(sink.numFinishes()).isEqualTo(1);
                    assertThat(sink.fault()).isNull();
                }
                assertThat(sinks.getLast().reason).isEqualTo(FinishReason.ERROR);
                assertThat(loop.status().failure()).contains("a test failure");
            }
            assertThat(engine.numLive()).isZero();
        }
    }
}

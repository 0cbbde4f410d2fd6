package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.SamplingParams;
import io.millrace.engine.StepPlan;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class PriorityPolicyTest {
    private static QueueConfig priority(double agingSeconds) {
        return new QueueConfig(SchedulingPolicy.PRIORITY, agingSeconds, 0, 1, 0, 0);
    }

    private static Harness harness(FakeEngine.Builder builder, double agingSeconds) {
        return new Harness(builder, 64, SchedulerListener.NONE, priority(agingSeconds));
    }

    private static Terms urgency(int priority) {
        return new Terms(0, priority, 0);
    }

    /** Property: of those that wait the most urgent enters next, equals by arrival. */
    @Test
    void theMostUrgentEntersFirst() {
        Harness h = harness(FakeEngine.builder().maxNumSeqs(1), 0);
        int[] priorities = {5, 3, 5, -2, 3, 0, -2};
        List<RequestState> submitted = new ArrayList<>();
        for (int i = 0; i < priorities.length; i++) {
            submitted.add(h.submit(Harness.prompt(i, 10), SamplingParams.greedy(3), urgency(priorities[i])));
        }
        h.drain();
        List<RequestState> byStart = submitted.stream().sorted(Comparator.comparingLong(RequestState::firstScheduledNanos)).toList();
        assertThat(byStart).extracting(r -> submitted.indexOf(r)).containsExactly(3, 6, 5, 1, 4, 0, 2);
        h.requests.forEach(h::expectOutput);
    }

    /** Property: an urgent newcomer takes the place of the least urgent running one in the next step; its equals keep theirs. */
    @Test
    void theUrgentTakesThePlaceOfTheLessUrgent() {
        Harness h = harness(FakeEngine.builder().maxNumSeqs(2), 0);
        RequestState middle = h.submit(Harness.prompt(1, 10), SamplingParams.greedy(50), urgency(1));
        RequestState low = h.submit(Harness.prompt(2, 10), SamplingParams.greedy(50), urgency(2));
        h.step();
        h.step();
        RequestState equal = h.submit(Harness.prompt(3, 10), SamplingParams.greedy(5), urgency(2));
        h.step();
        assertThat(equal.phase).isEqualTo(RequestState.Phase.WAITING);
        RequestState urgent = h.submit(Harness.prompt(4, 10), SamplingParams.greedy(5), urgency(0));
        h.step();
        assertThat(urgent.numOutputTokens()).isEqualTo(1);
        assertThat(middle.phase).isEqualTo(RequestState.Phase.RUNNING);
        assertThat(low.phase).isEqualTo(RequestState.Phase.WAITING);
        while (!equal.begun) {
            h.step();
        }
        assertThat(low.phase).as("among equals the preempted one is the older").isNotEqualTo(RequestState.Phase.WAITING);
        h.drain();
        assertThat(low.numPreemptions()).isEqualTo(1);
        assertThat(middle.numPreemptions()).isZero();
        h.requests.forEach(h::expectOutput);
    }

    /** Property: an urgent prompt does not wait for the chunks of a less urgent one that has begun. */
    @Test
    void theUrgentPromptTakesTheBudgetFirst() {
        Harness h = harness(FakeEngine.builder().maxNumSeqs(4).maxNumBatchedTokens(64), 0);
        RequestState low = h.submit(Harness.prompt(1, 300), SamplingParams.greedy(3), urgency(1));
        h.step();
        RequestState urgent = h.submit(Harness.prompt(2, 60), SamplingParams.greedy(3), urgency(0));
        StepPlan plan = h.step();
        assertThat(urgent.numOutputTokens()).isEqualTo(1);
        assertThat(plan.totalTokens()).isEqualTo(64);
        assertThat(low.numPreemptions()).isZero();
        h.drain();
    }

    /** Property: nobody gives way to one who could not enter even so. */
    @Test
    void nobodyIsDisplacedInVain() {
        Harness h = harness(FakeEngine.builder().maxNumSeqs(4).blocks(32, 16), 0);
        RequestState urgent = h.submit(Harness.prompt(1, 320), SamplingParams.greedy(100), urgency(0));
        RequestState low = h.submit(Harness.prompt(2, 50), SamplingParams.greedy(20), urgency(5));
        for (int i = 0; i < 8; i++) {
            h.step();
        }
        RequestState large = h.submit(Harness.prompt(3, 400), SamplingParams.greedy(2), urgency(1));
        h.step();
        assertThat(large.phase).isEqualTo(RequestState.Phase.WAITING);
        assertThat(low.numPreemptions()).as("12 blocks are not enough for 400 tokens").isZero();
        assertThat(urgent.numPreemptions()).isZero();
        h.drain();
    }

    /**
     * Property: what several hold is given back once. Two less urgent requests hold ten blocks, eight of them together, beside one that is
     * not displaced and one place that is kept free. Nobody gives way to a prompt that needs more than that, its own share in what they
     * hold included, and both do to one that needs just as much or shares more with the one that stays.
     */
    @ParameterizedTest
    @CsvSource({"none,19,true", "none,20,false", "theirs,19,true", "theirs,20,false", "staying,30,true", "staying,31,false"})
    void sharedBlocksAreGivenBackOnce(String prefix, int needed, boolean enters) {
        Harness h = harness(FakeEngine.builder().maxNumSeqs(4).blocks(32, 16).maxNumBatchedTokens(512).maxModelLen(512), 0);
        int[] longPrompt = Harness.prompt(1, 190);
        RequestState stays = h.submit(longPrompt, SamplingParams.greedy(100), urgency(0));
        int[] shared = Harness.prompt(2, 130);
        int[] other = Arrays.copyOf(shared, 130);
        other[129] ^= 1;
        RequestState low = h.submit(shared, SamplingParams.greedy(10), urgency(5));
        h.step();
        h.step();
        h.step();
        RequestState twin = h.submit(other, SamplingParams.greedy(10), urgency(5));
        h.step();
        assertThat(twin.numCachedTokens()).isEqualTo(128);
        assertThat(h.scheduler.progress().numFreeBlocks).isEqualTo(32 - 12 - 10);
        int[] prompt = Harness.prompt(3, needed * 16 - 8);
        int[] start = prefix.equals("none") ? new int[0] : prefix.equals("theirs") ? shared : longPrompt;
        System.arraycopy(start, 0, prompt, 0, Math.min(start.length, prompt.length));
        RequestState large = h.submit(prompt, SamplingParams.greedy(1), urgency(1));
        h.step();
        assertThat(large.begun).isEqualTo(enters);
        assertThat(low.numPreemptions() + twin.numPreemptions()).isEqualTo(enters ? 2 : 0);
        assertThat(stays.numPreemptions()).isZero();
        h.drain();
        h.requests.forEach(h::expectOutput);
    }

    /** Property: whoever could not enter by displacing does so in the very step in which enough comes free. */
    @Test
    void theUrgentEntersAsSoonAsThereIsRoom() {
        Harness h = harness(FakeEngine.builder().maxNumSeqs(4).blocks(64, 16).maxNumBatchedTokens(1024).maxModelLen(1024), 0);
        RequestState first = h.submit(Harness.prompt(1, 470), SamplingParams.greedy(10), urgency(0));
        h.submit(Harness.prompt(2, 470), SamplingParams.greedy(100), urgency(5));
        while (first.numOutputTokens() < 9) {
            h.step();
        }
        RequestState urgent = h.submit(Harness.prompt(3, 630), SamplingParams.greedy(1), urgency(1));
        h.step();
        assertThat(first.phase).as("ends with the step, its %d blocks needed", 30).isEqualTo(RequestState.Phase.FINISHED);
        assertThat(urgent.begun).as("40 blocks of 64, of which 30 are not to be had").isFalse();
        h.step();
        assertThat(urgent.begun).isTrue();
        h.drain();
    }

    /**
     * Property: who gave way gets beyond where it was before it gives way again, however many urgent ones come, and the urgent wait for no
     * more than that.
     */
    @Test
    void whoGaveWayProgressesBeforeItDoesAgain() {
        Harness h = harness(FakeEngine.builder().maxNumSeqs(1).blocks(33, 16), 0);
        RequestState low = h.submit(Harness.prompt(1, 400), SamplingParams.greedy(100), urgency(5));
        for (int i = 0; i < 12; i++) {
            h.step();
        }
        for (int i = 0; i < 10; i++) {
            int computed = low.sequence.numComputedTokens();
            RequestState urgent = h.submit(Harness.prompt(2 + i, 400), SamplingParams.greedy(2), urgency(0));
            int waited = 0;
            while (!urgent.begun) {
                h.step();
                waited++;
            }
            assertThat(waited).as("steps of urgent request %d", i).isLessThanOrEqualTo(i == 0 ? 1 : 3 + computed / 64);
            while (low.phase != RequestState.Phase.RUNNING) {
                h.step();
            }
        }
        assertThat(low.numPreemptions()).isEqualTo(10);
        assertThat(h.scheduler.progress().numFruitlessPreemptions).isZero();
        h.drain();
        h.requests.forEach(h::expectOutput);
    }

    /**
     * Property: no inversion. In every step that had tokens left, a waiting request that is more urgent than running ones has no room: not in what is free
     * together with what all of those hold that have done something new since they were last preempted, less what the others still need
     * and one block to grow. Random arrivals, lengths and aborts; all invariants after every step.
     */
    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3, 4})
    void noUrgentRequestWaitsForALessUrgentOne(long seed) {
        Random random = new Random(seed);
        Harness h = harness(FakeEngine.builder().maxModelLen(256).eosPermille(20).maxNumSeqs(4).blocks(20, 16).maxNumBatchedTokens(96),
                seed % 2 == 0 ? 0 : 0.05);
        h.nanosPerStep = 1_000_000;
        h.nanosPerToken = 0;
        Set<RequestState> spared = new HashSet<>();
        h.onPlan = plan -> {
            if (plan.totalTokens() < h.limits.maxNumBatchedTokens()) {
                checkNoInversion(h, spared);
            }
        };
        int numDisplaced = 0;
        for (int i = 0; i < 6000; i++) {
            if (random.nextInt(6) == 0 && h.requests.size() - h.scheduler.progress().numFinished < 30) {
                h.submit(Harness.prompt(random.nextInt(), 1 + random.nextInt(120)), SamplingParams.greedy(1 + random.nextInt(40)),
                        urgency(random.nextInt(4)));
            } else if (random.nextInt(40) == 0 && !h.requests.isEmpty()) {
                h.scheduler.abort(h.requests.get(h.requests.size() - 1 - random.nextInt(Math.min(20, h.requests.size()))));
            } else {
                spared.clear();
                h.requests.stream().filter(RequestState::hasYetToProgress).forEach(spared::add);
                h.step();
            }
        }
        h.drain();
        for (RequestState r : h.requests) {
            numDisplaced += r.numPreemptions();
            if (h.sink(r).reason != FinishReason.ABORT) {
                h.expectOutput(r);
            }
        }
        assertThat(numDisplaced).as("preemptions").isPositive();
    }

    private static void checkNoInversion(Harness h, Set<RequestState> spared) {
        RequestState head = null;
        for (RequestState r : h.requests) {
            boolean better = head == null || r.rank < head.rank || r.rank == head.rank && r.arrivalOrder < head.arrivalOrder;
            if (r.phase == RequestState.Phase.WAITING && better) {
                head = r;
            }
        }
        if (head == null) {
            return;
        }
        int blocks = h.scheduler.progress().numFreeBlocks;
        int numLess = 0;
        int numOthers = 0;
        for (RequestState r : h.requests) {
            if (r.phase != RequestState.Phase.RUNNING) {
                continue;
            }
            if (r.terms.priority() > head.terms.priority() && r.rank > head.rank && !spared.contains(r)) {
                numLess++;
                blocks += r.sequence.numBlocks();
            } else {
                numOthers++;
                blocks -= Math.max(0, blocksFor(r) - r.sequence.numBlocks());
            }
        }
        int needed = Math.min(20, blocksFor(head) + (head.numPreemptions() > 0 ? 1 : 0)) + (numOthers > 0 ? 1 : 0);
        assertThat(numLess > 0 && needed <= blocks).as("%s waits with %d blocks for %d, %d less urgent run", head, blocks, needed, numLess).isFalse();
    }

    private static int blocksFor(RequestState request) {
        return (request.numTokensToCompute() + 15) / 16;
    }

    /** Property: with aging, a request of the lowest priority finishes under a permanent overload of urgent ones; without, it does not. */
    @Test
    void agingKeepsTheLeastUrgentFromStarving() {
        assertThat(finishesUnderOverload(2)).isTrue();
        assertThat(finishesUnderOverload(0)).isFalse();
    }

    private static boolean finishesUnderOverload(double agingSeconds) {
        Harness h = harness(FakeEngine.builder().maxNumSeqs(2), agingSeconds);
        h.nanosPerStep = 10_000_000;
        RequestState low = h.submit(Harness.prompt(0, 20), SamplingParams.greedy(10), urgency(3));
        for (int i = 0; i < 3000 && low.phase != RequestState.Phase.FINISHED; i++) {
            // Twice as many urgent ones as there are places for.
            while (h.scheduler.progress().numWaiting < 4) {
                h.submit(Harness.prompt(i, 20), SamplingParams.greedy(10), urgency(0));
            }
            h.step();
        }
        return low.phase == RequestState.Phase.FINISHED;
    }
}

package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.SamplingParams;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class FairPolicyTest {
    private static Harness harness(FakeEngine.Builder builder, int tenants) {
        return new Harness(builder, 64, SchedulerListener.NONE, QueueConfig.of(SchedulingPolicy.FAIR, tenants));
    }

    private static Terms of(int tenant) {
        return new Terms(tenant, 0, 0);
    }

    /** Property: with one place, two tenants of equal requests take turns, whoever came first; within a tenant it is by arrival. */
    @Test
    void equalTenantsTakeTurns() {
        Harness h = harness(FakeEngine.builder().maxNumSeqs(1), 2);
        for (int i = 0; i < 10; i++) {
            h.submit(Harness.prompt(i, 10), SamplingParams.greedy(5), of(i < 6 ? 0 : 1));
        }
        h.drain();
        List<RequestState> byStart = new ArrayList<>(h.requests);
        byStart.sort((a, b) -> Long.compare(a.firstScheduledNanos(), b.firstScheduledNanos()));
        assertThat(byStart).extracting(r -> r.terms.tenant()).containsExactly(0, 1, 0, 1, 0, 1, 0, 1, 0, 0);
        for (int tenant = 0; tenant < 2; tenant++) {
            int t = tenant;
            assertThat(byStart.stream().filter(r -> r.terms.tenant() == t).map(r -> r.arrivalOrder).toList()).isSorted();
        }
    }

    /**
     * Property: while two tenants both wait, what they were served differs by no more than VTC's bound, twice the weight of
     * the tokens that run at once, although one asks for far longer requests than the other.
     */
    @Test
    void backloggedTenantsAreServedAlike() {
        int places = 8;
        Harness h = harness(FakeEngine.builder().maxModelLen(512).maxNumSeqs(places).blocks(256, 16), 2);
        Random random = new Random(7);
        int[] served = new int[2];
        List<RequestState> live = new ArrayList<>();
        long bound = 2L * FairOrder.OUTPUT_WEIGHT * places * (200 + 100);
        for (int i = 0; i < 4000; i++) {
            for (int tenant = 0; tenant < 2; tenant++) {
                int t = tenant;
                while (live.stream().filter(r -> r.terms.tenant() == t && r.phase == RequestState.Phase.WAITING).count() <= places) {
                    live.add(h.submit(Harness.prompt(random.nextInt(), tenant == 0 ? 200 : 10), SamplingParams.greedy(tenant == 0 ? 100 : 20), of(tenant)));
                }
            }
            h.step();
            live.removeIf(r -> {
                if (r.phase == RequestState.Phase.FINISHED) {
                    served[r.terms.tenant()] += service(r);
                }
                return r.phase == RequestState.Phase.FINISHED;
            });
            int difference = served[0] - served[1] + live.stream().mapToInt(r -> r.terms.tenant() == 0 ? service(r) : -service(r)).sum();
            assertThat(Math.abs(difference)).as("step %d", i).isLessThanOrEqualTo((int) bound);
        }
        assertThat(Math.min(served[0], served[1])).as("served").isGreaterThan((int) (2 * bound));
    }

    private static int service(RequestState request) {
        return request.begun ? FairOrder.PROMPT_WEIGHT * request.numPromptTokens() + FairOrder.OUTPUT_WEIGHT * request.numOutputTokens() : 0;
    }

    /** Property: who pauses does not save up service: coming back, a tenant gets its half, not all until it has caught up. */
    @Test
    void pausesAreNotSavedUp() {
        Harness h = harness(FakeEngine.builder().maxNumSeqs(1), 2);
        for (int i = 0; i < 30; i++) {
            h.submit(Harness.prompt(i, 10), SamplingParams.greedy(5), of(0));
        }
        for (int i = 0; i < 100; i++) {
            h.step();
        }
        for (int i = 0; i < 10; i++) {
            h.submit(Harness.prompt(i, 10), SamplingParams.greedy(5), of(1));
        }
        h.drain();
        List<RequestState> later = h.requests.stream().filter(r -> r.firstScheduledNanos() > h.requests.get(30).arrivalNanos())
                .sorted((a, b) -> Long.compare(a.firstScheduledNanos(), b.firstScheduledNanos())).toList();
        assertThat(later.subList(0, 10).stream().filter(r -> r.terms.tenant() == 0).count()).isBetween(4L, 6L);
    }

    /** Property: random arrivals of five tenants, aborts and preemptions keep every invariant, and everyone gets their own tokens. */
    @ParameterizedTest
    @ValueSource(longs = {21, 22, 23})
    void randomOperationsKeepEveryPromise(long seed) {
        Random random = new Random(seed);
        Harness h = harness(FakeEngine.builder().maxModelLen(256).eosPermille(20).maxNumSeqs(6).blocks(20, 16).maxNumBatchedTokens(96), 5);
        for (int i = 0; i < 8000; i++) {
            int op = random.nextInt(20);
            long inside = h.requests.size() - h.scheduler.progress().numFinished;
            if (op < 3 && inside < 40) {
                h.submit(Harness.prompt(random.nextInt(), 1 + random.nextInt(120)), SamplingParams.greedy(random.nextInt(60)),
                        new Terms(random.nextInt(5), 0, random.nextInt(4) == 0 ? 1_000_000L * random.nextInt(40) : 0));
            } else if (op == 3 && inside > 0) {
                h.scheduler.abort(h.requests.get(h.requests.size() - 1 - random.nextInt(Math.min(40, h.requests.size()))));
            } else {
                h.step();
            }
        }
        h.drain();
        int numTimeouts = 0;
        for (RequestState r : h.requests) {
            if (h.sink(r).reason == FinishReason.STOP || h.sink(r).reason == FinishReason.LENGTH) {
                h.expectOutput(r);
            }
            numTimeouts += h.sink(r).reason == FinishReason.TIMEOUT ? 1 : 0;
        }
        assertThat(h.scheduler.progress().numPreemptions).isPositive();
        assertThat(numTimeouts).isPositive();
        for (int tenant = 0; tenant < 5; tenant++) {
            assertThat(h.scheduler.tenants().numInside(tenant)).isZero();
        }
    }
}

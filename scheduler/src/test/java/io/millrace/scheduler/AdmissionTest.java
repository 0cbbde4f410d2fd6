package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.SamplingParams;
import io.millrace.engine.StepPlan;
import java.util.ArrayList;
import java.util.List;
import java.util.PriorityQueue;
import java.util.Random;
import java.util.function.ToLongFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class AdmissionTest {
    private static final ToLongFunction<StepPlan> COST = plan -> 5_000_000 + 100_000L * plan.totalTokens();

    private static VirtualLoop loop(int seqs, int queued, QueueConfig queue) {
        FakeEngine engine = FakeEngine.builder().maxModelLen(1000).maxNumSeqs(seqs).blocks(1000, 16).build();
        return new VirtualLoop(engine, new SchedulerConfig(seqs, 256, 256, queued, true, queue), SchedulerListener.NONE);
    }

    private static GenerationRequest request(int prompt, int output, int tenant) {
        return new GenerationRequest(Harness.prompt(prompt, prompt), SamplingParams.greedy(output), new RecordingSink(), null, new Terms(tenant, 0, 0));
    }

    private static RejectedException refusal(VirtualLoop loop, GenerationRequest request) {
        return catchThrowableOfType(RejectedException.class, () -> loop.submit(request));
    }

    private static void drain(VirtualLoop loop) {
        while (loop.step(COST)) {
            loop.checkIntegrity();
        }
    }

    /** Property: waiting prompt tokens are bounded, with the numbers in the refusal; once they have begun to run there is room again. */
    @Test
    void waitingTokensAreBounded() {
        VirtualLoop loop = loop(1, 100, new QueueConfig(SchedulingPolicy.FCFS, 60, 500, 1, 0, 0));
        loop.submit(request(100, 5, 0));
        loop.step(COST);
        loop.submit(request(300, 5, 0));
        loop.submit(request(200, 5, 0));
        RejectedException refused = refusal(loop, request(1, 5, 0));
        assertThat(refused.kind()).isEqualTo(RejectedException.Kind.QUEUE_FULL);
        assertThat(refused).hasMessageStartingWith("SCH-022: 500 prompt tokens are waiting, and with the 1 of this request there would be more than 500");
        assertThat(refused.retryAfterSeconds()).isPositive();
        drain(loop);
        // Nobody waits: even one that is longer than the bound comes in.
        loop.submit(request(900, 5, 0));
        drain(loop);
        assertThat(refusal(loop, request(1000, 5, 0)).kind()).isEqualTo(RejectedException.Kind.TOO_LONG);
    }

    /** Property: work stands still since it came, before there was any step, too, and wherever the clock has its origin. */
    @Test
    void aStallBeforeTheFirstStepIsSeen() {
        long[] now = {-1_000_000_000_000L};
        FakeEngine engine = FakeEngine.builder().build();
        SchedulerConfig config = new SchedulerConfig(4, 256, 256, 20);
        Admission admission = new Admission(engine.limits(), new Scheduler(engine, config, () -> now[0], SchedulerListener.NONE), config, () -> now[0]);
        now[0] += 5_000_000_000L;
        assertThat(admission.stalledNanos(now[0])).isZero();
        admission.reserve(List.of(request(10, 5, 0)));
        now[0] += 3_000_000_000L;
        assertThat(admission.stalledNanos(now[0])).isEqualTo(3_000_000_000L);
    }

    /** Property: a tenant has so many requests in the house and no more, another is not touched by that, and an end makes room. */
    @Test
    void requestsOfATenantAreBounded() {
        VirtualLoop loop = loop(4, 100, new QueueConfig(SchedulingPolicy.FAIR, 60, 0, 2, 3, 0));
        for (int i = 0; i < 3; i++) {
            loop.submit(request(50, 5, 0));
        }
        RejectedException refused = refusal(loop, request(50, 5, 0));
        assertThat(refused.kind()).isEqualTo(RejectedException.Kind.TENANT_BUSY);
        assertThat(refused).hasMessageStartingWith("SCH-025: 3 requests of this API key");
        loop.submit(request(50, 5, 1));
        drain(loop);
        loop.submit(request(50, 5, 0));
        drain(loop);
        assertThat(refusal(loop, request(1, 1, 0))).isNull();
    }

    /** Property: over ten minutes a tenant that always asks gets its tokens per minute, within one request, and Retry-After is exact to the second. */
    @Test
    void tokensOfATenantAreBounded() {
        VirtualLoop loop = loop(4, 100, new QueueConfig(SchedulingPolicy.FAIR, 60, 0, 2, 0, 6000));
        long tokens = 0;
        long end = 600_000_000_000L;
        int numRefused = 0;
        while (loop.nanoTime() < end) {
            RejectedException refused = refusal(loop, request(400, 100, 0));
            if (refused == null) {
                tokens += 500;
            } else {
                numRefused++;
                assertThat(refused.kind()).isEqualTo(RejectedException.Kind.TENANT_RATE);
                long back = loop.nanoTime() + refused.retryAfterSeconds() * 1_000_000_000L;
                // A second earlier would have been in vain.
                loop.waitUntil(back - 1_100_000_000L);
                assertThat(refusal(loop, request(400, 100, 0))).isNotNull();
                loop.waitUntil(back);
                assertThat(refusal(loop, request(400, 100, 0))).isNull();
                tokens += 500;
            }
            drain(loop);
        }
        assertThat(numRefused).isPositive();
        // Ten minutes' worth, the full bucket at the beginning, and one request of debt.
        assertThat(tokens).isBetween(60_000L, 60_000L + 6_000 + 500);
        assertThat(refusal(loop, request(400, 100, 1))).as("the other tenant").isNull();
    }

    /** Property: a key whose client asks again at once, as often as it can, puts off the one that was refused beside it by five seconds at most. */
    @Test
    void aClientThatDoesNotWaitPutsOffItsOwnKeyAlone() {
        VirtualLoop loop = loop(4, 16, QueueConfig.of(SchedulingPolicy.FAIR, 2));
        for (int i = 0; i < 20; i++) {
            loop.submit(request(100, 30, 0));
        }
        for (int i = 0; i < 200; i++) {
            loop.step(COST);
            refusal(loop, request(100, 30, 0));
        }
        while (refusal(loop, request(100, 30, 0)) == null) {
            continue;
        }
        RejectedException light = refusal(loop, request(100, 30, 1));
        int hammering = 0;
        for (int i = 0; i < 1000; i++) {
            hammering = refusal(loop, request(100, 30, 0)).retryAfterSeconds();
        }
        assertThat(light.retryAfterSeconds()).as("of the light key").isLessThanOrEqualTo(5 + 2);
        assertThat(hammering).isGreaterThan(50);
        assertThat(refusal(loop, request(100, 30, 1)).retryAfterSeconds()).as("of the light key, again").isLessThanOrEqualTo(5 + 3);
        drain(loop);
    }

    /**
     * Property: Retry-After is honest. 300 clients, of one key or of twenty one after the other, come to a house of 60 at once, and each that is refused comes back when it was told.
     * They are served in not much more than the time the work takes, and come back about twice on average; told "1" each time they would
     * come seven times. (A house that holds less than a second of work would stand idle between whole seconds.)
     */
    @ParameterizedTest
    @ValueSource(ints = {1, 20})
    void whoComesBackWhenToldIsServed(int numKeys) {
        VirtualLoop loop = loop(8, 52, QueueConfig.of(SchedulingPolicy.FCFS, numKeys));
        Random random = new Random(5);
        for (int i = 0; i < 40; i++) {
            loop.submit(request(50 + random.nextInt(100), 30, 0));
            for (int k = 0; k < 4; k++) {
                loop.step(COST);
            }
        }
        drain(loop);
        record Client(long back, int number) {}
        PriorityQueue<Client> clients = new PriorityQueue<>((a, b) -> a.back == b.back ? a.number - b.number : Long.compare(a.back, b.back));
        long start = loop.nanoTime();
        int numClients = 300;
        for (int i = 0; i < numClients; i++) {
            clients.add(new Client(start, i));
        }
        int attempts = 0;
        while (!clients.isEmpty() || loop.hasWork()) {
            if (!loop.hasWork() && !clients.isEmpty()) {
                loop.waitUntil(clients.peek().back);
            }
            List<Client> refused = new ArrayList<>();
            while (!clients.isEmpty() && clients.peek().back <= loop.nanoTime()) {
                Client client = clients.poll();
                attempts++;
                RejectedException no = refusal(loop, request(50 + client.number % 100, 30, client.number * numKeys / numClients));
                if (no != null) {
                    refused.add(new Client(loop.nanoTime() + no.retryAfterSeconds() * 1_000_000_000L, client.number));
                }
            }
            clients.addAll(refused);
            loop.step(COST);
        }
        double seconds = (loop.nanoTime() - start) * 1e-9;
        VirtualLoop ideal = loop(8, 1000, QueueConfig.DEFAULT);
        for (int i = 0; i < numClients; i++) {
            ideal.submit(request(50 + i % 100, 30, 0));
        }
        drain(ideal);
        System.out.printf("300 clients of %d keys, each back when told: %.2f attempts each, %.1f s where %.1f s is the work%n",
                numKeys, (double) attempts / numClients, seconds,
                ideal.nanoTime() * 1e-9);
        assertThat((double) attempts / numClients).isLessThan(3);
        assertThat(seconds).isLessThan(1.5 * ideal.nanoTime() * 1e-9 + 1);
    }
}

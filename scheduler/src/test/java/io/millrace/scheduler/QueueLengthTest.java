package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.SamplingParams;
import io.millrace.engine.StepPlan;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Property: a step looks at the front of the queue only, whatever stands behind. The queue is made endless: its third request is followed by
 * itself, so that whoever walked along it would never come back. (A heap cannot be walked like that; {@link RequestHeapTest} counts its
 * comparisons.) Steps with and without free places, and an arrival and an end beside them.
 */
@Timeout(value = 20, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class QueueLengthTest {
    @ParameterizedTest
    @EnumSource(value = SchedulingPolicy.class, names = {"FCFS", "FAIR"})
    void aStepLooksAtTheFrontOfTheQueueOnly(SchedulingPolicy policy) {
        FakeEngine engine = FakeEngine.builder().maxNumSeqs(4).maxModelLen(1024).blocks(50, 16).build();
        Scheduler scheduler = new Scheduler(engine, new SchedulerConfig(4, 256, 256, 1000, true, QueueConfig.of(policy, 1)), System::nanoTime,
                SchedulerListener.NONE, new IndexKey(1));
        RequestState[] requests = new RequestState[20];
        for (int i = 0; i < requests.length; i++) {
            // Two run and fill the memory; two places stay free.
            requests[i] = request(i, i == 0 ? 260 : 300);
            scheduler.submit(requests[i]);
        }
        run(engine, scheduler, 4);
        assertThat(scheduler.progress().numRunning).isEqualTo(2);
        requests[4].next = requests[4];
        run(engine, scheduler, 20);
        scheduler.submit(request(100, 10));
        run(engine, scheduler, 20);
        scheduler.abort(requests[0]);
        run(engine, scheduler, 20);
        assertThat(scheduler.progress().numRunning).as("the next one took the place").isEqualTo(2);
        assertThat(requests[2].phase).isEqualTo(RequestState.Phase.RUNNING);
        assertThat(scheduler.progress().numSteps).isEqualTo(64);
    }

    private static RequestState request(int seed, int promptLength) {
        return new RequestState(seed + 1, new GenerationRequest(Harness.prompt(seed, promptLength), SamplingParams.greedy(500), new RecordingSink()), 16, 0,
                null);
    }

    private static void run(FakeEngine engine, Scheduler scheduler, int steps) {
        for (int i = 0; i < steps; i++) {
            StepPlan plan = scheduler.schedule();
            scheduler.settle(plan, engine.execute(plan));
        }
    }
}

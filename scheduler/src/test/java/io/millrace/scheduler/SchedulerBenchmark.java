package io.millrace.scheduler;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.SamplingParams;
import io.millrace.engine.StepPlan;
import io.millrace.engine.StepResult;
import java.util.Arrays;

/**
 * Host time of scheduling alone: {@code schedule} and {@code settle} with 256 running sequences, the engine's time left out. Run with
 * {@code ./mvnw -q -pl scheduler -am test-compile} and then
 * {@code java -cp scheduler/target/classes:scheduler/target/test-classes:engine/target/classes:engine/target/test-classes
 * io.millrace.scheduler.SchedulerBenchmark}.
 */
final class SchedulerBenchmark {
    private static final int NUM_SEQUENCES = 256;
    private static final int NUM_STEPS = 20_000;
    private static final int NUM_WARMUP_STEPS = 5_000;

    private SchedulerBenchmark() {}

    public static void main(String[] args) {
        run("decode only", 200_000, 64);
        run("requests come and go", 200, 64);
    }

    private static void run(String name, int maxTokens, int numPrompt) {
        FakeEngine limitsOnly = FakeEngine.builder().maxModelLen(1 << 20).maxNumSeqs(NUM_SEQUENCES).maxNumBatchedTokens(2048)
                .blocks(NUM_SEQUENCES * 2048, 16).build();
        Scheduler scheduler = new Scheduler(limitsOnly, SchedulerConfig.defaults(limitsOnly.limits()), System::nanoTime,
                SchedulerListener.NONE);
        Answers answers = new Answers();
        long[] nanos = new long[NUM_STEPS];
        long id = 0;
        for (int step = -NUM_WARMUP_STEPS; step < NUM_STEPS; step++) {
            while (scheduler.progress().numRunning + scheduler.progress().numWaiting < NUM_SEQUENCES) {
                // Lengths differ, so that requests end one by one.
                GenerationRequest request = new GenerationRequest(Harness.prompt(1, numPrompt),
                        SamplingParams.greedy(maxTokens - (int) (id % 100)), answers);
                scheduler.submit(new RequestState(++id, request, 16, System.nanoTime(), null));
            }
            long start = System.nanoTime();
            StepPlan plan = scheduler.schedule();
            long scheduled = System.nanoTime();
            answers.plan = plan;
            long settling = System.nanoTime();
            scheduler.settle(plan, answers);
            long settled = System.nanoTime();
            if (step >= 0) {
                nanos[step] = scheduled - start + settled - settling;
            }
        }
        Arrays.sort(nanos);
        System.out.printf("%-22s %d sequences, %d requests: schedule + settle p50 %.1f us, p99 %.1f us, max %.1f us%n", name,
                NUM_SEQUENCES, id, nanos[NUM_STEPS / 2] * 1e-3, nanos[NUM_STEPS * 99 / 100] * 1e-3, nanos[NUM_STEPS - 1] * 1e-3);
    }

    /** Answers at once, and is the sink as well: only the scheduler's own time remains. */
    private static final class Answers implements StepResult, TokenSink {
        private StepPlan plan;

        @Override
        public int token(int i) {
            return plan.samples(i) ? 7 : -1;
        }

        @Override
        public int sampledRow(int i) {
            return i;
        }

        @Override
        public int firstScoredRow(int i) {
            return 0;
        }

        @Override
        public int numScoredRows(int i) {
            return 0;
        }

        @Override
        public int rowToken(int r) {
            return 7;
        }

        @Override
        public float logprob(int r) {
            return 0;
        }

        @Override
        public int rank(int r) {
            return 1;
        }

        @Override
        public int numTop(int r) {
            return 0;
        }

        @Override
        public int topId(int r, int k) {
            return 0;
        }

        @Override
        public float topLogprob(int r, int k) {
            return 0;
        }

        @Override
        public void onPromptScored(int firstPosition, int count, StepResult result, int firstRow) {}

        @Override
        public void onToken(int tokenId, StepResult result, int row) {}

        @Override
        public void onFinish(FinishReason reason, int stopTokenId, String message) {}
    }
}

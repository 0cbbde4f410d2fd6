package io.millrace.server.serving;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.ForwardingEngine;
import io.millrace.engine.SamplingParams;
import io.millrace.engine.StepResult;
import io.millrace.scheduler.EngineLoop;
import io.millrace.scheduler.FinishReason;
import io.millrace.scheduler.GenerationRequest;
import io.millrace.scheduler.LoopOptions;
import io.millrace.scheduler.RejectedException;
import io.millrace.scheduler.RequestHandle;
import io.millrace.scheduler.SchedulerConfig;
import io.millrace.scheduler.TokenSink;
import io.millrace.telemetry.MetricRegistry;
import io.millrace.telemetry.PulseField;
import io.millrace.telemetry.PulseReader;
import io.millrace.telemetry.ShardPulse;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.Test;

class SchedulerMetricsTest {
    private record Finished(CountDownLatch latch) implements TokenSink {
        @Override
        public void onToken(int tokenId, StepResult result, int row) {}

        @Override
        public void onFinish(FinishReason reason, int stopTokenId, String message) {
            latch.countDown();
        }
    }

    /** What a dashboard adds up is what was served: requests, prompt and generated tokens, phases, refusals. */
    @Test
    void theTextAgreesWithWhatWasServed() throws Exception {
        FakeEngine engine = FakeEngine.builder().vocabSize(50).maxModelLen(64).blocks(64, 16).build();
        MetricRegistry registry = MetricRegistry.forModel("tiny");
        SchedulerMetrics metrics = SchedulerMetrics.register(registry, engine.limits(), "float32", true);
        CountDownLatch latch = new CountDownLatch(5);
        EngineLoop loop = EngineLoop.start(engine, new SchedulerConfig(4, 64, 64, 16), metrics);
        SamplingParams params = SamplingParams.builder().temperature(0).maxTokens(6).ignoreEos(true).build();
        for (int i = 0; i < 5; i++) {
            loop.submit(new GenerationRequest(new int[] {1, 2, 3, 4 + i}, params, new Finished(latch)));
        }
        assertThat(latch.await(20, TimeUnit.SECONDS)).isTrue();
        loop.shutdown(Duration.ofSeconds(5));
        metrics.onRejected(RejectedException.Kind.QUEUE_FULL);

        ByteArrayOutputStream out = new ByteArrayOutputStream();
        registry.writeText(out);
        String labels = "engine=\"0\",model_name=\"tiny\"";
        assertThat(out.toString(StandardCharsets.UTF_8)).contains(
                "vllm:request_success_total{engine=\"0\",finished_reason=\"length\",model_name=\"tiny\"} 5.0",
                "vllm:prompt_tokens_total{" + labels + "} 20.0", "vllm:generation_tokens_total{" + labels + "} 30.0",
                "vllm:time_to_first_token_seconds_count{" + labels + "} 5", "vllm:inter_token_latency_seconds_count{" + labels + "} 25",
                "vllm:request_queue_time_seconds_count{" + labels + "} 5", "vllm:num_requests_running{" + labels + "} 0.0",
                "vllm:kv_cache_usage_perc{" + labels + "} 0.0", "vllm:request_generation_tokens_sum{" + labels + "} 30.0",
                "millrace_requests_rejected_total{" + labels + ",reason=\"rate_limit_exceeded\"} 1.0", "block_size=\"16\"");
    }

    /** Every step leaves one pulse, whose numbers are those of the step; the thread's share of it is in metrics and log line. */
    @Test
    void everyStepLeavesAPulse() throws Exception {
        FakeEngine engine = FakeEngine.builder().vocabSize(50).maxModelLen(64).blocks(64, 16).hook(plan -> {
            long end = System.nanoTime() + 2_000_000;
            while (System.nanoTime() < end) {
                Thread.onSpinWait();
            }
        }).build();
        MetricRegistry registry = MetricRegistry.forModel("tiny");
        SchedulerMetrics metrics = SchedulerMetrics.register(registry, engine.limits(), "float32", true);
        PulseReader reader = metrics.pulses();
        CountDownLatch latch = new CountDownLatch(1);
        try (EngineLoop loop = EngineLoop.start(engine, new SchedulerConfig(4, 64, 64, 16), metrics)) {
            assertThat(metrics.line(loop)).as("nothing ran").isNull();
            loop.submit(new GenerationRequest(new int[] {1, 2, 3, 4}, SamplingParams.greedy(6), new Finished(latch)));
            assertThat(latch.await(20, TimeUnit.SECONDS)).isTrue();
            // Between two steps: the last one has been told.
            loop.checkIntegrity();
            ShardPulse pulse = new ShardPulse();
            long cpu = 0;
            long start = Long.MIN_VALUE;
            for (int step = 1; step <= 6; step++) {
                assertThat(reader.poll(pulse)).isTrue();
                assertThat(pulse.get(PulseField.STEP_ID)).isEqualTo(step);
                assertThat(pulse.get(PulseField.TOKENS)).isEqualTo(step == 1 ? 4 : 1);
                assertThat(pulse.get(PulseField.SEQUENCES)).isEqualTo(1);
                assertThat(pulse.get(PulseField.KV_BLOCKS_USED)).isEqualTo(step == 6 ? 0 : 1);
                assertThat(pulse.get(PulseField.EXECUTE_NANOS)).isGreaterThanOrEqualTo(2_000_000);
                assertThat(pulse.get(PulseField.START_NANOS)).isGreaterThan(start);
                start = pulse.get(PulseField.START_NANOS);
                cpu += pulse.get(PulseField.CPU_NANOS);
            }
            assertThat(reader.poll(pulse)).isFalse();
            assertThat(cpu).as("five steps that compute for 2 ms each, or are kept from it").isPositive();
            assertThat(metrics.line(loop)).contains("now 0 sequences running, 0 waiting", "KV 0.0 %", "slowest step", "engine thread CPU");
            assertThat(text(metrics, loop)).contains("millrace_step_run_queue_wait_seconds_total{")
                    .doesNotContain("millrace_step_thread_cpu_seconds_total{engine=\"0\",model_name=\"tiny\"} 0.0\n");
        }
    }

    /** Steps that overlap are counted, and a thread that runs them accounts for its time. */
    @Test
    void overlappedStepsAndTheirThreadAreCounted() throws Exception {
        FakeEngine engine = FakeEngine.builder().vocabSize(50).maxModelLen(64).blocks(64, 16).build();
        MetricRegistry registry = MetricRegistry.forModel("tiny");
        SchedulerMetrics metrics = SchedulerMetrics.register(registry, engine.limits(), "float32", true);
        CountDownLatch latch = new CountDownLatch(1);
        // The fake computes on the caller's thread: any other one stands in for its runner.
        Thread runner = Thread.currentThread();
        try (EngineLoop loop = EngineLoop.start(new ForwardingEngine(engine) {
            @Override
            public long runnerThreadId() {
                return runner.threadId();
            }
        }, new SchedulerConfig(4, 64, 64, 16), metrics, LoopOptions.defaults().withAsyncScheduling(true))) {
            loop.submit(new GenerationRequest(new int[] {1, 2, 3, 4}, SamplingParams.greedy(10), new Finished(latch)));
            assertThat(latch.await(20, TimeUnit.SECONDS)).isTrue();
            loop.checkIntegrity();
            // The last of ten has nothing behind it: its length was known.
            assertThat(text(metrics, loop)).contains("millrace_overlapped_steps_total{engine=\"0\",model_name=\"tiny\"} 9.0",
                    "millrace_fruitless_preemptions_total{engine=\"0\",model_name=\"tiny\"} 0.0")
                    .doesNotContain("millrace_runner_thread_cpu_seconds_total{engine=\"0\",model_name=\"tiny\"} 0.0\n");
        }
    }

    /** Prompt tokens count when the prompt has been computed, and the gauges follow a client that leaves the queue without any step. */
    @Test
    void countersAndGaugesAreOfNowNotOfTheLastEnd() throws Exception {
        Semaphore steps = new Semaphore(0);
        FakeEngine engine = FakeEngine.builder().vocabSize(50).maxModelLen(64).maxNumSeqs(1).blocks(64, 16)
                .hook(plan -> steps.acquireUninterruptibly()).build();
        MetricRegistry registry = MetricRegistry.forModel("tiny");
        SchedulerMetrics metrics = SchedulerMetrics.register(registry, engine.limits(), "float32", true);
        String labels = "{engine=\"0\",model_name=\"tiny\"} ";
        CountDownLatch latch = new CountDownLatch(2);
        try (EngineLoop loop = EngineLoop.start(engine, new SchedulerConfig(1, 64, 64, 16), metrics)) {
            loop.submit(new GenerationRequest(new int[] {1, 2, 3, 4}, SamplingParams.greedy(20), new Finished(latch)));
            RequestHandle waiting = loop.submit(new GenerationRequest(new int[] {1, 2, 3}, SamplingParams.greedy(20), new Finished(latch)));
            steps.release(2);
            await(() -> loop.status().numSteps() >= 2);
            // The next step is held, the request runs on.
            assertThat(text(metrics, loop)).contains("vllm:prompt_tokens_total" + labels + "4.0", "vllm:num_requests_running" + labels + "1.0",
                    "vllm:num_requests_waiting" + labels + "1.0", "vllm:e2e_request_latency_seconds_count" + labels + "0");
            waiting.abort();
            steps.release();
            await(() -> latch.getCount() == 1);
            assertThat(text(metrics, loop)).contains("vllm:num_requests_waiting" + labels + "0.0", "vllm:prompt_tokens_total" + labels + "4.0");
            steps.release(100);
            assertThat(latch.await(20, TimeUnit.SECONDS)).isTrue();
            assertThat(text(metrics, loop)).contains("vllm:num_requests_running" + labels + "0.0", "vllm:kv_cache_usage_perc" + labels + "0.0");
        }
    }

    private static void await(BooleanSupplier condition) {
        long deadline = System.nanoTime() + 20_000_000_000L;
        while (!condition.getAsBoolean() && System.nanoTime() < deadline) {
            LockSupport.parkNanos(500_000);
        }
        assertThat(condition.getAsBoolean()).isTrue();
    }

    private static String text(SchedulerMetrics metrics, EngineLoop loop) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        metrics.writeText(loop, out);
        return out.toString(StandardCharsets.UTF_8);
    }
}

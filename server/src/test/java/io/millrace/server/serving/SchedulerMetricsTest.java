package io.millrace.server.serving;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.SamplingParams;
import io.millrace.engine.StepResult;
import io.millrace.scheduler.EngineLoop;
import io.millrace.scheduler.FinishReason;
import io.millrace.scheduler.GenerationRequest;
import io.millrace.scheduler.RejectedException;
import io.millrace.scheduler.SchedulerConfig;
import io.millrace.scheduler.TokenSink;
import io.millrace.telemetry.MetricRegistry;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class SchedulerMetricsTest {
    private record Finished(CountDownLatch latch) implements TokenSink {
        @Override
        public void onPromptScored(int firstPosition, int count, StepResult result, int firstRow) {}

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
        SchedulerMetrics metrics = SchedulerMetrics.register(registry, engine.limits(), "float32");
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
                "millrace_requests_rejected_total{" + labels + ",reason=\"queue_full\"} 1.0", "block_size=\"16\"");
    }
}

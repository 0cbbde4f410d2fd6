package io.millrace.telemetry;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;

class ServingMetricsTest {
    private static final long MS = 1_000_000;
    private static final String LABELS = "engine=\"0\",model_name=\"demo \\\"x\\\"\"";

    private final MetricRegistry registry = MetricRegistry.forModel("demo \"x\"");
    private final ServingMetrics metrics = new ServingMetrics(registry, 2000);

    private String text() {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try {
            registry.writeText(out);
        } catch (IOException e) {
            throw new AssertionError(e);
        }
        return out.toString(StandardCharsets.UTF_8);
    }

    private double value(String series) {
        List<String> lines = text().lines().filter(line -> line.startsWith(series + " ")).toList();
        assertThat(lines).as(series + " in\n" + text()).hasSize(1);
        return Double.parseDouble(lines.getFirst().substring(series.length() + 1));
    }

    /** The series that vLLM's dashboards query exist under exactly these names from the start, so that rates begin at zero. */
    @Test
    void vllmsNamesAreThereBeforeTheFirstRequest() {
        metrics.setCacheConfig(16, 512, "bfloat16", true);
        for (String name : List.of("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "num_preemptions_total",
                "prompt_tokens_total", "generation_tokens_total", "prefix_cache_queries_total", "prefix_cache_hits_total",
                "time_to_first_token_seconds_count", "inter_token_latency_seconds_count", "request_time_per_output_token_seconds_sum",
                "e2e_request_latency_seconds_count", "request_queue_time_seconds_count", "request_prefill_time_seconds_count",
                "request_decode_time_seconds_count", "request_inference_time_seconds_count", "request_prompt_tokens_count",
                "request_generation_tokens_count", "request_params_max_tokens_count", "iteration_tokens_total_count")) {
            assertThat(value("vllm:" + name + "{" + LABELS + "}")).as(name).isZero();
        }
        for (String reason : List.of("stop", "length", "abort", "error")) {
            assertThat(text()).contains("vllm:request_success_total{engine=\"0\",finished_reason=\"" + reason + "\",model_name=");
        }
        assertThat(text()).contains("# TYPE vllm:prompt_tokens_total counter", "# TYPE vllm:iteration_tokens_total histogram",
                "# TYPE vllm:kv_cache_usage_perc gauge", "block_size=\"16\"", "num_gpu_blocks=\"512\"", "enable_prefix_caching=\"True\"");
        assertThat(text()).doesNotContain("_created", "NaN");
    }

    @Test
    void aRequestsTimesFallIntoQueuePrefillDecodeAndTotal() {
        long arrival = 5 * MS;
        metrics.recordPrefilled(40, 16);
        assertThat(value("vllm:prompt_tokens_total{" + LABELS + "}")).as("counted before the end").isEqualTo(40);
        metrics.recordFirstToken(30 * MS);
        metrics.recordNextToken(4 * MS);
        metrics.recordNextToken(6 * MS);
        metrics.recordFinished(RequestOutcome.LENGTH, 40, 3, 100, arrival, arrival + 10 * MS, arrival + 30 * MS, arrival + 40 * MS,
                arrival + 41 * MS);
        assertThat(sum("time_to_first_token_seconds")).isEqualTo(0.030);
        assertThat(sum("inter_token_latency_seconds")).isEqualTo(0.010);
        assertThat(sum("request_queue_time_seconds")).isEqualTo(0.010);
        assertThat(sum("request_prefill_time_seconds")).isEqualTo(0.020);
        assertThat(sum("request_decode_time_seconds")).isEqualTo(0.010);
        assertThat(sum("request_inference_time_seconds")).isEqualTo(0.030);
        assertThat(sum("e2e_request_latency_seconds")).isEqualTo(0.041);
        assertThat(sum("request_time_per_output_token_seconds")).as("10 ms over the 2 tokens after the first").isEqualTo(0.005);
        assertThat(value("vllm:prompt_tokens_total{" + LABELS + "}")).isEqualTo(40);
        assertThat(value("vllm:generation_tokens_total{" + LABELS + "}")).isEqualTo(3);
        assertThat(value("vllm:prefix_cache_queries_total{" + LABELS + "}")).isEqualTo(40);
        assertThat(value("vllm:prefix_cache_hits_total{" + LABELS + "}")).isEqualTo(16);
        // The finer bounds tell 4 ms from 6 ms; vLLM's lowest is 10 ms and still there.
        assertThat(value("vllm:inter_token_latency_seconds_bucket{" + LABELS + ",le=\"0.005\"}")).isEqualTo(1);
        assertThat(value("vllm:inter_token_latency_seconds_bucket{" + LABELS + ",le=\"0.01\"}")).isEqualTo(2);
    }

    private double sum(String name) {
        return Math.round(value("vllm:" + name + "_sum{" + LABELS + "}") * 1e9) / 1e9;
    }

    /** What never happened is not counted as an instant: it would pull every mean down. */
    @Test
    void anAbortedRequestCountsOnlyThePhasesItReached() {
        metrics.recordFinished(RequestOutcome.ABORT, 10, 0, 5, MS, 0, 0, 0, 3 * MS);
        metrics.recordFinished(RequestOutcome.ABORT, 10, 0, 5, MS, 2 * MS, 0, 0, 3 * MS);
        metrics.recordFinished(RequestOutcome.ABORT, 10, 1, 5, MS, 2 * MS, 3 * MS, 3 * MS, 4 * MS);
        assertThat(value("vllm:e2e_request_latency_seconds_count{" + LABELS + "}")).isEqualTo(3);
        assertThat(value("vllm:request_queue_time_seconds_count{" + LABELS + "}")).isEqualTo(2);
        assertThat(value("vllm:request_prefill_time_seconds_count{" + LABELS + "}")).isEqualTo(1);
        assertThat(value("vllm:request_time_per_output_token_seconds_count{" + LABELS + "}")).isZero();
        assertThat(text()).contains("stage=\"queued\"} 1.0", "stage=\"prefill\"} 1.0", "stage=\"decode\"} 1.0");
    }

    @Test
    void stepsFeedGaugesAndPhases() {
        metrics.recordStep(30, 4, 5, 2, 25, 100, 20_000, 3 * MS, 40_000);
        metrics.recordThread(2_500 * MS, 500 * MS);
        assertThat(value("millrace_step_thread_cpu_seconds_total{" + LABELS + "}")).isEqualTo(2.5);
        assertThat(value("millrace_step_run_queue_wait_seconds_total{" + LABELS + "}")).isEqualTo(0.5);
        metrics.recordPreemption(true);
        metrics.recordOverlap();
        metrics.recordRunner(1_500 * MS);
        assertThat(value("millrace_fruitless_preemptions_total{" + LABELS + "}")).isEqualTo(1);
        assertThat(value("millrace_overlapped_steps_total{" + LABELS + "}")).isEqualTo(1);
        assertThat(value("millrace_runner_thread_cpu_seconds_total{" + LABELS + "}")).isEqualTo(1.5);
        metrics.recordRejected("rate_limit_exceeded");
        assertThat(value("vllm:num_requests_running{" + LABELS + "}")).isEqualTo(5);
        assertThat(value("vllm:num_requests_waiting{" + LABELS + "}")).isEqualTo(2);
        assertThat(value("vllm:kv_cache_usage_perc{" + LABELS + "}")).isEqualTo(0.25);
        assertThat(value("vllm:num_preemptions_total{" + LABELS + "}")).isEqualTo(1);
        assertThat(value("vllm:iteration_tokens_total_sum{" + LABELS + "}")).isEqualTo(34);
        assertThat(value("millrace_steps_total{" + LABELS + "}")).isEqualTo(1);
        assertThat(text()).contains("millrace_step_phase_seconds_count{" + LABELS + ",phase=\"execute\"} 1",
                "millrace_computed_tokens_total{engine=\"0\",kind=\"prefill\"", "reason=\"rate_limit_exceeded\"} 1.0");
        metrics.setLoad(0, 0, 0, 0);
        assertThat(value("vllm:kv_cache_usage_perc{" + LABELS + "}")).as("no cache at all").isZero();
    }

    @Test
    void recordingAllocatesNothing() {
        long bytes = Allocation.bytesOf(10_000, () -> {
            metrics.recordStep(30, 4, 5, 2, 25, 100, 20_000, 3 * MS, 40_000);
            metrics.recordThread(3 * MS, 100);
            metrics.recordPrefilled(40, 16);
            metrics.recordFirstToken(30 * MS);
            metrics.recordNextToken(4 * MS);
            metrics.recordPreemption(false);
            metrics.recordOverlap();
            metrics.recordRunner(2 * MS);
            metrics.recordFinished(RequestOutcome.STOP, 40, 3, 100, 1, 10 * MS, 30 * MS, 40 * MS, 41 * MS);
        });
        assertThat(bytes).as("bytes for 10,000 steps and requests").isLessThan(10_000);
    }

    @Test
    void tokenBoundsGoUpToTheContextLength() {
        assertThat(Buckets.oneTwoFive(2000)).containsExactly(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000);
        assertThat(Buckets.oneTwoFive(700)).endsWith(200, 500, 700);
        assertThat(Buckets.oneTwoFive(1)).containsExactly(1);
    }

    @Test
    void aNameGivenTwiceIsRefused() {
        assertThatThrownBy(() -> new ServingMetrics(registry, 100)).isInstanceOf(IllegalArgumentException.class);
    }

    @Test
    void httpAndProcessMetricsShareTheText() {
        HttpMetrics http = new HttpMetrics(registry);
        ProcessMetrics.register(registry);
        http.connectionOpened();
        http.connectionOpened();
        http.connectionClosed();
        http.streamOpened();
        http.recordSseBytes(300);
        http.recordSlowClient();
        http.recordRequest("/v1/completions", "POST", 200, 7 * MS);
        http.recordRequest("/v1/completions", "POST", 429, MS);
        assertThat(value("millrace_http_connections")).isEqualTo(1);
        assertThat(value("millrace_sse_streams")).isEqualTo(1);
        http.streamClosed();
        assertThat(value("millrace_sse_streams")).isZero();
        assertThat(value("millrace_sse_bytes_total")).isEqualTo(300);
        assertThat(value("millrace_sse_slow_clients_total")).isEqualTo(1);
        assertThat(value("http_requests_total{handler=\"/v1/completions\",method=\"POST\",status=\"4xx\"}")).isEqualTo(1);
        assertThat(value("http_request_duration_seconds_count{handler=\"/v1/completions\",method=\"POST\"}")).isEqualTo(2);
        assertThat(value("process_cpu_seconds_total")).isPositive();
        assertThat(value("millrace_heap_used_bytes")).isPositive();
    }
}

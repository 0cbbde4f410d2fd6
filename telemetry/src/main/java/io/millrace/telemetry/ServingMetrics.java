package io.millrace.telemetry;

import io.prometheus.metrics.core.datapoints.CounterDataPoint;
import io.prometheus.metrics.core.datapoints.GaugeDataPoint;
import io.prometheus.metrics.core.metrics.Counter;

/**
 * Requests, tokens and steps, under the names and labels that vLLM's dashboards and gateways read, and under {@code millrace_*} where
 * vLLM has no name. Durations come in nanoseconds and are exposed in seconds.
 *
 * <p>Definitions, as vLLM has them: queue time ends when a request is first scheduled; prefill goes from there to its first token;
 * decode from the first token to the last; inference is prefill and decode; intervals of preemption stay inside. Time per output
 * token is decode time over the number of tokens after the first. Prompt tokens and prefix-cache counters are added when the prompt has
 * been computed, generation tokens as they come; a prompt that a preemption has computed again counts once.
 *
 * <p>Threading: the engine thread records; {@link #recordRejected} is for any thread. Nothing is allocated when recording.
 */
public final class ServingMetrics {
    private static final double SECONDS = 1e-9;

    private final GaugeDataPoint running;
    private final GaugeDataPoint waiting;
    private final GaugeDataPoint waitingForCapacity;
    private final GaugeDataPoint kvUsage;
    private final CounterDataPoint preemptions;
    private final CounterDataPoint fruitlessPreemptions;
    private final CounterDataPoint promptTokens;
    private final CounterDataPoint generationTokens;
    private final CounterDataPoint prefixQueries;
    private final CounterDataPoint prefixHits;
    private final CounterDataPoint[] finished = new CounterDataPoint[RequestOutcome.values().length];
    private final FixedHistogram.Series timeToFirstToken;
    private final FixedHistogram.Series interTokenLatency;
    private final FixedHistogram.Series timePerOutputToken;
    private final FixedHistogram.Series endToEnd;
    private final FixedHistogram.Series queue;
    private final FixedHistogram.Series prefill;
    private final FixedHistogram.Series decode;
    private final FixedHistogram.Series inference;
    private final FixedHistogram.Series requestPromptTokens;
    private final FixedHistogram.Series requestGenerationTokens;
    private final FixedHistogram.Series requestMaxTokens;
    private final FixedHistogram.Series iterationTokens;
    private final CounterDataPoint steps;
    private final CounterDataPoint overlappedSteps;
    private final CounterDataPoint computedPrefillTokens;
    private final CounterDataPoint computedDecodeTokens;
    private final FixedHistogram.Series scheduleSeconds;
    private final FixedHistogram.Series executeSeconds;
    private final FixedHistogram.Series settleSeconds;
    private final CounterDataPoint threadCpuSeconds;
    private final CounterDataPoint runQueueSeconds;
    private final CounterDataPoint runnerCpuSeconds;
    private final CounterDataPoint abortedQueued;
    private final CounterDataPoint abortedPrefill;
    private final CounterDataPoint abortedDecode;
    private final Counter rejected;
    private final MetricRegistry registry;
    private volatile boolean prefixCaching = true;

    /** @param maxModelLen the longest context: the last bound of the token histograms */
    public ServingMetrics(MetricRegistry registry, int maxModelLen) {
        this.registry = registry;
        running = registry.modelGauge("vllm:num_requests_running", "Requests in the running batch.").labelValues();
        waiting = registry.modelGauge("vllm:num_requests_waiting", "Requests waiting for a place.").labelValues();
        var byReason = registry.modelGauge("vllm:num_requests_waiting_by_reason", "Requests waiting, by what for.", "reason");
        waitingForCapacity = byReason.labelValues("capacity");
        // Nothing here waits for anything else than a place.
        byReason.labelValues("deferred").set(0);
        kvUsage = registry.modelGauge("vllm:kv_cache_usage_perc", "Share of the KV blocks in use; 1 is all of them.").labelValues();
        preemptions = registry.modelCounter("vllm:num_preemptions", "Times a request lost its blocks and is recomputed.").labelValues();
        fruitlessPreemptions = registry.modelCounter("millrace_fruitless_preemptions",
                "Preemptions of a request that had done nothing new since its last one.").labelValues();
        promptTokens = registry.modelCounter("vllm:prompt_tokens", "Tokens of the prompts that were computed or found in the prefix cache.").labelValues();
        generationTokens = registry.modelCounter("vllm:generation_tokens", "Tokens generated.").labelValues();
        prefixQueries = registry.modelCounter("vllm:prefix_cache_queries", "Prompt tokens looked up in the prefix cache.").labelValues();
        prefixHits = registry.modelCounter("vllm:prefix_cache_hits", "Prompt tokens found in the prefix cache.").labelValues();
        Counter success = registry.modelCounter("vllm:request_success", "Requests that ended, by reason.", "finished_reason");
        for (RequestOutcome outcome : RequestOutcome.values()) {
            finished[outcome.ordinal()] = success.labelValues(outcome.label());
        }

        timeToFirstToken = seconds("vllm:time_to_first_token_seconds", "Arrival to first token.", Buckets.TIME_TO_FIRST_TOKEN);
        interTokenLatency = seconds("vllm:inter_token_latency_seconds", "One token to the next.", Buckets.BETWEEN_TOKENS);
        timePerOutputToken = seconds("vllm:request_time_per_output_token_seconds", "Mean time per token after the first, of a request.",
                Buckets.BETWEEN_TOKENS);
        endToEnd = seconds("vllm:e2e_request_latency_seconds", "Arrival to end of a request.", Buckets.REQUEST_SECONDS);
        queue = seconds("vllm:request_queue_time_seconds", "Arrival to first scheduling.", Buckets.REQUEST_SECONDS);
        prefill = seconds("vllm:request_prefill_time_seconds", "First scheduling to first token.", Buckets.REQUEST_SECONDS);
        decode = seconds("vllm:request_decode_time_seconds", "First token to last.", Buckets.REQUEST_SECONDS);
        inference = seconds("vllm:request_inference_time_seconds", "First scheduling to last token.", Buckets.REQUEST_SECONDS);

        double[] lengths = Buckets.oneTwoFive(maxModelLen);
        requestPromptTokens = registry.modelHistogram("vllm:request_prompt_tokens", "Prompt tokens of a request.", lengths).labelValues();
        requestGenerationTokens = registry.modelHistogram("vllm:request_generation_tokens", "Tokens generated for a request.", lengths)
                .labelValues();
        requestMaxTokens = registry.modelHistogram("vllm:request_params_max_tokens", "max_tokens of a request.", lengths).labelValues();
        iterationTokens = registry.modelHistogram("vllm:iteration_tokens_total", "Tokens of a step.", Buckets.STEP_TOKENS).labelValues();

        steps = registry.modelCounter("millrace_steps", "Steps run.").labelValues();
        overlappedSteps = registry.modelCounter("millrace_overlapped_steps",
                "Steps with another one submitted behind them when they were done (--async-scheduling).").labelValues();
        Counter computed = registry.modelCounter("millrace_computed_tokens", "Tokens run through the model, recomputed ones included.", "kind");
        computedPrefillTokens = computed.labelValues("prefill");
        computedDecodeTokens = computed.labelValues("decode");
        var phases = registry.modelHistogram("millrace_step_phase_seconds", "Time of a step by phase.", Buckets.STEP_SECONDS, "phase");
        scheduleSeconds = phases.labelValues("schedule");
        executeSeconds = phases.labelValues("execute");
        settleSeconds = phases.labelValues("settle");
        threadCpuSeconds = registry.modelCounter("millrace_step_thread_cpu_seconds",
                "CPU time of the engine thread; the kernels' own threads are in process_cpu_seconds_total.").labelValues();
        runQueueSeconds = registry.modelCounter("millrace_step_run_queue_wait_seconds",
                "Time in which the engine thread could have run but another had its core.").labelValues();
        runnerCpuSeconds = registry.modelCounter("millrace_runner_thread_cpu_seconds",
                "CPU time of the thread that runs submitted steps (--async-scheduling); without it the engine thread does.").labelValues();
        Counter aborted = registry.modelCounter("millrace_requests_aborted", "Requests whose client went away, by how far they were.", "stage");
        abortedQueued = aborted.labelValues("queued");
        abortedPrefill = aborted.labelValues("prefill");
        abortedDecode = aborted.labelValues("decode");
        rejected = registry.modelCounter("millrace_requests_rejected", "Requests refused, by reason.", "reason");
    }

    private FixedHistogram.Series seconds(String name, String help, double[] buckets) {
        return registry.modelHistogram(name, help, buckets).labelValues();
    }

    /** The KV cache as it was set up, as labels of {@code vllm:cache_config_info}. Call once. */
    public void setCacheConfig(int blockSize, int numBlocks, String cacheDtype, boolean prefixCaching) {
        this.prefixCaching = prefixCaching;
        registry.modelGauge("vllm:cache_config_info", "Configuration of the KV cache.", "block_size", "num_gpu_blocks", "cache_dtype",
                "enable_prefix_caching").labelValues(String.valueOf(blockSize), String.valueOf(numBlocks), cacheDtype,
                        prefixCaching ? "True" : "False").set(1);
    }

    /**
     * A step is done.
     *
     * @param numPrefillTokens prompt tokens computed in it
     * @param numDecodeTokens  output tokens computed in it
     * @param numRunning       requests that hold a place after it
     * @param numWaiting       requests in the queue after it
     */
    public void recordStep(int numPrefillTokens, int numDecodeTokens, int numRunning, int numWaiting, int numUsedBlocks, int numBlocks,
            long scheduleNanos, long executeNanos, long settleNanos) {
        steps.inc();
        iterationTokens.observe(numPrefillTokens + numDecodeTokens);
        computedPrefillTokens.inc(numPrefillTokens);
        computedDecodeTokens.inc(numDecodeTokens);
        scheduleSeconds.observe(scheduleNanos * SECONDS);
        executeSeconds.observe(executeNanos * SECONDS);
        settleSeconds.observe(settleNanos * SECONDS);
        setLoad(numRunning, numWaiting, numUsedBlocks, numBlocks);
    }

    /** What the engine thread used, and waited for, since it was recorded last. */
    public void recordThread(long cpuNanos, long runQueueNanos) {
        threadCpuSeconds.inc(cpuNanos * SECONDS);
        runQueueSeconds.inc(runQueueNanos * SECONDS);
    }

    /** A prompt is complete: computed, but for what the prefix cache had. */
    public void recordPrefilled(int numPromptTokens, int numCachedTokens) {
        promptTokens.inc(numPromptTokens);
        if (prefixCaching) {
            prefixQueries.inc(numPromptTokens);
            prefixHits.inc(numCachedTokens);
        }
    }

    /** The gauges alone, for a change without a step: the last request has left. */
    public void setLoad(int numRunning, int numWaiting, int numUsedBlocks, int numBlocks) {
        running.set(numRunning);
        waiting.set(numWaiting);
        waitingForCapacity.set(numWaiting);
        kvUsage.set(numBlocks == 0 ? 0 : (double) numUsedBlocks / numBlocks);
    }

    /** @param fruitless whether it hit a request that had done nothing new since it was preempted before */
    public void recordPreemption(boolean fruitless) {
        preemptions.inc();
        fruitlessPreemptions.inc(fruitless ? 1 : 0);
    }

    /** A step that was recorded had another one submitted behind it when it was done. */
    public void recordOverlap() {
        overlappedSteps.inc();
    }

    /** What the thread that runs submitted steps used since it was recorded last. */
    public void recordRunner(long cpuNanos) {
        runnerCpuSeconds.inc(cpuNanos * SECONDS);
    }

    /** @param sinceArrivalNanos from the request's arrival to its first token */
    public void recordFirstToken(long sinceArrivalNanos) {
        generationTokens.inc();
        timeToFirstToken.observe(sinceArrivalNanos * SECONDS);
    }

    /** @param sinceLastNanos from the request's token before to this one */
    public void recordNextToken(long sinceLastNanos) {
        generationTokens.inc();
        interTokenLatency.observe(sinceLastNanos * SECONDS);
    }

    /**
     * A request ended. Times are points on one clock, 0 where the event never happened.
     *
     * @param maxTokens output tokens that were asked for at most
     */
    public void recordFinished(RequestOutcome outcome, int numPromptTokens, int numOutputTokens, int maxTokens,
            long arrivalNanos, long firstScheduledNanos, long firstTokenNanos, long lastTokenNanos, long finishNanos) {
        finished[outcome.ordinal()].inc();
        endToEnd.observe((finishNanos - arrivalNanos) * SECONDS);
        requestMaxTokens.observe(maxTokens);
        requestPromptTokens.observe(numPromptTokens);
        requestGenerationTokens.observe(numOutputTokens);
        if (outcome == RequestOutcome.ABORT) {
            (firstScheduledNanos == 0 ? abortedQueued : firstTokenNanos == 0 ? abortedPrefill : abortedDecode).inc();
        }
        if (firstScheduledNanos == 0) {
            return;
        }
        queue.observe((firstScheduledNanos - arrivalNanos) * SECONDS);
        if (firstTokenNanos == 0) {
            return;
        }
        prefill.observe((firstTokenNanos - firstScheduledNanos) * SECONDS);
        decode.observe((lastTokenNanos - firstTokenNanos) * SECONDS);
        inference.observe((lastTokenNanos - firstScheduledNanos) * SECONDS);
        if (numOutputTokens > 1) {
            timePerOutputToken.observe((lastTokenNanos - firstTokenNanos) * SECONDS / (numOutputTokens - 1));
        }
    }

    /** A request was refused. Any thread. {@code reason} is one of a few short words: each makes a time series. */
    public void recordRejected(String reason) {
        rejected.labelValues(reason).inc();
    }
}

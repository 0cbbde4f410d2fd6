package io.millrace.server.config;

import io.millrace.engine.EngineConfig;
import io.millrace.engine.EngineLimits;
import io.millrace.scheduler.LoopOptions;
import io.millrace.scheduler.QueueConfig;
import io.millrace.scheduler.SchedulerConfig;
import io.millrace.scheduler.SchedulingPolicy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.OptionalLong;

/**
 * The whole configuration of a process that loads a model, validated once by {@link ConfigReader}. What each component means is said
 * in {@link Settings}; 0 in a count or size means "decide from model and machine".
 */
public record ServerConfig(String model, int maxModelLen, boolean modelDefaults, OptionalLong seed, int maxNumSeqs, int maxNumBatchedTokens,
        int maxPrefillChunk, int maxNumQueuedRequests, Queueing queueing, double memoryUtilization, long kvCacheMemoryBytes, String kvCacheDtype, int blockSize,
        int numBlocks, boolean prefixCaching, String backend, String dtype, int threads, String host, int port, List<String> servedModelNames, List<String> apiKeys,
        Duration shutdownTimeout, Duration stepTimeout, boolean asyncScheduling, boolean logStats,
        String quantization, String quantizationCache, String threadsBind, String toolCallParser, String reasoningParser) {

    /** Who is served first and how much may wait; 0 = no bound, for the tokens the default. */
    public record Queueing(SchedulingPolicy policy, Duration priorityAging, int maxNumQueuedTokens, int maxNumReqsPerKey, int maxTokensPerMinutePerKey) {
        static Queueing of(ConfigReader values) {
            return new Queueing(SchedulingPolicy.valueOf(values.get(Settings.SCHEDULING_POLICY).toUpperCase(Locale.ROOT)),
                    values.get(Settings.PRIORITY_AGING), values.get(Settings.MAX_NUM_QUEUED_TOKENS), values.get(Settings.MAX_NUM_REQS_PER_KEY),
                    values.get(Settings.MAX_TOKENS_PER_MINUTE_PER_KEY));
        }

        QueueConfig config(EngineLimits limits, int numKeys) {
            long tokens = maxNumQueuedTokens > 0 ? maxNumQueuedTokens : AUTO_QUEUE_FACTOR * limits.numBlocks() * limits.blockSize();
            return new QueueConfig(policy, priorityAging.toNanos() * 1e-9, tokens, Math.max(1, numKeys), maxNumReqsPerKey, maxTokensPerMinutePerKey);
        }
    }

    /** Waiting prompt tokens, in fillings of the KV cache. */
    private static final long AUTO_QUEUE_FACTOR = 16;
    /** Alternatives per token that a request can ask for: OpenAI's limit. */
    private static final int MAX_LOGPROBS = 20;
    /** A chunk this large keeps the kernels busy; a larger one only makes others wait longer for their next token. */
    private static final int DEFAULT_PREFILL_CHUNK = 512;

    static ServerConfig of(ConfigReader values) {
        return new ServerConfig(values.get(Settings.MODEL), values.get(Settings.MAX_MODEL_LEN),
                values.get(Settings.GENERATION_CONFIG).equals("auto"), values.get(Settings.SEED), values.get(Settings.MAX_NUM_SEQS),
                values.get(Settings.MAX_NUM_BATCHED_TOKENS), values.get(Settings.MAX_PREFILL_CHUNK), values.get(Settings.MAX_NUM_QUEUED_REQS),
                Queueing.of(values),
                values.get(Settings.MEMORY_UTILIZATION), values.get(Settings.KV_CACHE_MEMORY_BYTES), values.get(Settings.KV_CACHE_DTYPE),
                values.get(Settings.BLOCK_SIZE), values.get(Settings.NUM_BLOCKS), values.get(Settings.ENABLE_PREFIX_CACHING),
                values.get(Settings.BACKEND), values.get(Settings.DTYPE), values.get(Settings.THREADS),
                values.get(Settings.HOST), values.get(Settings.PORT), values.get(Settings.SERVED_MODEL_NAME), values.get(Settings.API_KEY),
                values.get(Settings.SHUTDOWN_TIMEOUT), values.get(Settings.STEP_TIMEOUT), values.get(Settings.ASYNC_SCHEDULING), !values.get(Settings.DISABLE_LOG_STATS),
                values.get(Settings.QUANTIZATION), values.get(Settings.QUANTIZATION_CACHE), values.get(Settings.THREADS_BIND),
                values.get(Settings.TOOL_CALL_PARSER), values.get(Settings.REASONING_PARSER));
    }

    /** Settings that are right one by one but not together. */
    List<String> contradictions() {
        List<String> problems = new ArrayList<>();
        if (maxNumBatchedTokens > 0 && maxNumBatchedTokens < maxNumSeqs) {
            problems.add("CLI-005: --max-num-batched-tokens " + maxNumBatchedTokens + " is below --max-num-seqs " + maxNumSeqs
                    + ", so that many sequences could never run together; lower --max-num-seqs or raise the tokens");
        }
        if (maxNumBatchedTokens > 0 && maxPrefillChunk > maxNumBatchedTokens) {
            problems.add("CLI-005: --max-prefill-chunk " + maxPrefillChunk + " is above --max-num-batched-tokens " + maxNumBatchedTokens
                    + "; a chunk cannot be larger than a step");
        }
        if (!quantizationCache.equals("none") && quantization.equals("none")) {
            problems.add("CLI-005: --quantization-cache " + quantizationCache + " keeps weights that --quantization rounded, but --quantization is"
                    + " none; give both or neither");
        }
        if (numBlocks > 0 && kvCacheMemoryBytes > 0) {
            problems.add("CLI-005: --num-gpu-blocks-override and --kv-cache-memory-bytes both set the size of the KV cache; give one");
        }
        return problems;
    }

    /**
     * The folder or GGUF file to load.
     *
     * @throws ConfigException if it is neither, saying what was looked for
     */
    public Path modelPath() {
        if (model.isEmpty()) {
            String bundled = System.getProperty("millrace.demo-model");
            if (bundled == null || !Files.isDirectory(Path.of(bundled))) {
                throw new ConfigException(List.of("CLI-006: no model given, and the bundled demonstration model is not at "
                        + (bundled == null ? "any known place" : bundled) + "; start with ./millrace, or give --model FOLDER"));
            }
            return Path.of(bundled);
        }
        Path path = Path.of(model);
        if (Files.isDirectory(path) || Files.isRegularFile(path) && isGguf(path)) {
            return path.toAbsolutePath().normalize();
        }
        if (Files.exists(path)) {
            throw new ConfigException(List.of("CLI-006: --model '" + model + "' is a file, but not one that ends in .gguf; give the folder with "
                    + "config.json, *.safetensors and tokenizer.json, or a GGUF file"));
        }
        boolean hubName = model.matches("[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*");
        throw new ConfigException(List.of("CLI-006: --model '" + model + "' does not exist; looked for the folder "
                + path.toAbsolutePath().normalize() + (hubName
                        ? ". If this is a name on the hub: downloads are not supported yet, fetch it first with 'hf download " + model
                                + " --local-dir FOLDER' and give --model FOLDER"
                        : "; give the folder with config.json, *.safetensors and tokenizer.json, or a GGUF file")));
    }

    private static boolean isGguf(Path path) {
        return path.getFileName().toString().toLowerCase(Locale.ROOT).endsWith(".gguf");
    }

    /** Names the API answers to; the first is reported. */
    public List<String> modelNames(String loadedName) {
        if (!servedModelNames.isEmpty()) {
            return servedModelNames;
        }
        return List.of(model.isEmpty() ? "millrace-demo" : loadedName);
    }

    public EngineConfig engineConfig() {
        return new EngineConfig(backend, dtype, maxModelLen, maxNumSeqs, maxNumBatchedTokens, blockSize, MAX_LOGPROBS, kvCacheDtype,
                kvCacheMemoryBytes, memoryUtilization, numBlocks, threads, quantization, quantizationCache, threadsBind);
    }

    public LoopOptions loopOptions() {
        return LoopOptions.defaults().withStepTimeout(stepTimeout).withAsyncScheduling(asyncScheduling);
    }

    public SchedulerConfig schedulerConfig(EngineLimits limits) {
        int budget = limits.maxNumBatchedTokens();
        int chunk = maxPrefillChunk == 0 ? DEFAULT_PREFILL_CHUNK : maxPrefillChunk;
        return new SchedulerConfig(limits.maxNumSeqs(), budget, Math.min(chunk, budget), maxNumQueuedRequests, prefixCaching,
                queueing.config(limits, apiKeys.size()));
    }

    /** @throws ConfigException if API keys are to be told apart and there are none */
    public void requireKeysToTellApart() {
        String flag = queueing.policy == SchedulingPolicy.FAIR ? "--scheduling-policy fair" : queueing.maxNumReqsPerKey > 0
                ? "--max-num-reqs-per-key" : queueing.maxTokensPerMinutePerKey > 0 ? "--max-tokens-per-minute-per-key" : null;
        if (flag != null && apiKeys.isEmpty()) {
            throw new ConfigException(List.of("CLI-005: " + flag + " is about API keys, and there are none; give each client one of its own with --api-key"));
        }
    }
}

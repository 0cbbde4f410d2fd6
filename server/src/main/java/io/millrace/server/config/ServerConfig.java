package io.millrace.server.config;

import io.millrace.engine.EngineConfig;
import io.millrace.engine.EngineLimits;
import io.millrace.scheduler.LoopOptions;
import io.millrace.scheduler.QueueConfig;
import io.millrace.scheduler.SchedulerConfig;
import io.millrace.scheduler.SchedulingPolicy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * The whole configuration of a process that loads a model, validated once by {@link ConfigReader}: a value for every one of
 * {@link Settings#ALL}, whose meaning is said there, and what other modules make of them. 0 in a count or size means "decide from model and
 * machine". Immutable.
 */
public record ServerConfig(Map<Setting<?>, Object> values) {
    /** Waiting prompt tokens, in fillings of the KV cache. */
    private static final long AUTO_QUEUE_FACTOR = 16;
    /** Alternatives per token that a request can ask for: OpenAI's limit. */
    private static final int MAX_LOGPROBS = 20;
    /** A chunk this large keeps the kernels busy; a larger one only makes others wait longer for their next token. */
    private static final int DEFAULT_PREFILL_CHUNK = 512;

    public ServerConfig {
        values = Map.copyOf(values);
    }

    @SuppressWarnings("unchecked") // its own parser made the value
    public <T> T get(Setting<T> setting) {
        return (T) values.get(setting);
    }

    /** Without the keys of clients. */
    @Override
    public String toString() {
        return "ServerConfig of " + values.size() + " settings";
    }

    /**
     * The folder or GGUF file to load.
     *
     * @throws ConfigException if it is neither, saying what was looked for
     */
    public Path modelPath() {
        String model = get(Settings.MODEL);
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
        if (!get(Settings.SERVED_MODEL_NAME).isEmpty()) {
            return get(Settings.SERVED_MODEL_NAME);
        }
        return List.of(get(Settings.MODEL).isEmpty() ? "millrace-demo" : loadedName);
    }

    /** Whether sampling defaults come from the model. */
    public boolean modelDefaults() {
        return get(Settings.GENERATION_CONFIG).equals("auto");
    }

    public EngineConfig engineConfig() {
        return new EngineConfig(get(Settings.BACKEND), get(Settings.DTYPE), get(Settings.MAX_MODEL_LEN), get(Settings.MAX_NUM_SEQS),
                get(Settings.MAX_NUM_BATCHED_TOKENS), get(Settings.BLOCK_SIZE), MAX_LOGPROBS, get(Settings.KV_CACHE_DTYPE),
                get(Settings.KV_CACHE_MEMORY_BYTES), get(Settings.MEMORY_UTILIZATION), get(Settings.NUM_BLOCKS), get(Settings.THREADS),
                get(Settings.QUANTIZATION), get(Settings.QUANTIZATION_CACHE), get(Settings.THREADS_BIND), get(Settings.CUDA_DRIVER));
    }

    public LoopOptions loopOptions() {
        return LoopOptions.defaults().withStepTimeout(get(Settings.STEP_TIMEOUT)).withAsyncScheduling(get(Settings.ASYNC_SCHEDULING));
    }

    public SchedulingPolicy schedulingPolicy() {
        return SchedulingPolicy.valueOf(get(Settings.SCHEDULING_POLICY).toUpperCase(Locale.ROOT));
    }

    public SchedulerConfig schedulerConfig(EngineLimits limits) {
        int budget = limits.maxNumBatchedTokens();
        int chunk = get(Settings.MAX_PREFILL_CHUNK) == 0 ? DEFAULT_PREFILL_CHUNK : get(Settings.MAX_PREFILL_CHUNK);
        return new SchedulerConfig(limits.maxNumSeqs(), budget, Math.min(chunk, budget), get(Settings.MAX_NUM_QUEUED_REQS),
                get(Settings.ENABLE_PREFIX_CACHING), queueConfig(limits));
    }

    private QueueConfig queueConfig(EngineLimits limits) {
        int asked = get(Settings.MAX_NUM_QUEUED_TOKENS);
        long tokens = asked > 0 ? asked : AUTO_QUEUE_FACTOR * limits.numBlocks() * limits.blockSize();
        return new QueueConfig(schedulingPolicy(), get(Settings.PRIORITY_AGING).toNanos() * 1e-9, tokens, Math.max(1, get(Settings.API_KEY).size()),
                get(Settings.MAX_NUM_REQS_PER_KEY), get(Settings.MAX_TOKENS_PER_MINUTE_PER_KEY));
    }
}

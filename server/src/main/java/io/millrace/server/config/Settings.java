package io.millrace.server.config;

import io.millrace.server.config.Setting.Group;
import io.millrace.server.config.Setting.Kind;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * Every setting, once, in the order of the help. Flags, YAML keys, variables and help follow from a constant here, whose value
 * {@link ServerConfig#get} gives; the README's table, which a test compares, is the one other place.
 */
public final class Settings {
    private static final int MANY = Integer.MAX_VALUE / 4;
    /** Filled by the declarations below, so it stands before them. */
    private static final List<Setting<?>> DECLARED = new ArrayList<>();

    public static final Setting<String> MODEL = declare("model", List.of("m"), Group.MODEL, Kind.VALUE, "PATH", "", false,
            texts -> texts.isEmpty() ? "" : Values.text().parse(texts),
            "folder with config.json, safetensors and tokenizer.json, or a .gguf file; without it the bundled demonstration model");
    public static final Setting<String> QUANTIZATION = declare("quantization", List.of("q"), Group.MODEL, Kind.VALUE, "FORMAT", "none", false,
            Values.one(Settings::quantization), "round float32, float16 or bfloat16 weights at load: none, q8_0, q4_0 or q4_k (a quantised"
                    + " .gguf file needs no flag)");
    public static final Setting<String> QUANTIZATION_CACHE = declare("quantization-cache", List.of(), Group.MODEL, Kind.VALUE, "PLACE", "none",
            false, Values.choice("none", "model", "user"),
            "keep the rounded weights for the next start: none, model (a hidden file beside the model) or user (~/.cache/millrace/weights)");
    public static final Setting<Integer> MAX_MODEL_LEN = count("max-model-len", Group.MODEL, "auto", 1,
            "longest sequence, prompt and answer together, in tokens; auto: the model's own");
    public static final Setting<String> GENERATION_CONFIG = declare("generation-config", List.of(), Group.MODEL, Kind.VALUE, "auto|vllm",
            "auto", false, Values.choice("auto", "vllm"),
            "auto: sampling defaults come from the model's generation_config.json; vllm: temperature 1, top_p 1, nothing else");
    public static final Setting<OptionalLong> SEED = declare("seed", List.of(), Group.MODEL, Kind.VALUE, "INT", "random", false, Values.seed(),
            "base of the seeds of requests that bring none: the same requests in the same order get the same answers");

    public static final Setting<Integer> MAX_NUM_SEQS = count("max-num-seqs", Group.MEMORY, "256", 1, 65_536, "sequences computed in one step at most");
    public static final Setting<Integer> MAX_NUM_BATCHED_TOKENS = count("max-num-batched-tokens", Group.MEMORY, "auto", 1, 1 << 20,
            "tokens computed in one step at most, prompts and answers together");
    public static final Setting<Integer> MAX_PREFILL_CHUNK = count("max-prefill-chunk", Group.MEMORY, "auto", 1,
            "prompt tokens of one request in one step at most: smaller keeps others' tokens flowing, larger reads prompts faster");
    public static final Setting<Integer> MAX_NUM_QUEUED_REQS = count("max-num-queued-reqs", Group.MEMORY, "1024", 0,
            "waiting requests beyond which new ones are answered 429");
    public static final Setting<Integer> MAX_NUM_QUEUED_TOKENS = count("max-num-queued-tokens", Group.MEMORY, "auto", 1,
            "waiting prompt tokens beyond which new requests are answered 429; auto: sixteen times what the KV cache holds");
    public static final Setting<String> SCHEDULING_POLICY = declare("scheduling-policy", List.of(), Group.MEMORY, Kind.VALUE,
            "fcfs|priority|fair", "fcfs", false, Values.choice("fcfs", "priority", "fair"),
            "who is served first: who came first; the most urgent, by the request field priority; or API keys by turns");
    public static final Setting<Duration> PRIORITY_AGING = declare("priority-aging", List.of(), Group.MEMORY, Kind.VALUE, "SECONDS", "60",
            false, Values.seconds(86_400), "with priority: one level is worth so many seconds of waiting, so that nobody waits for ever; 0: levels hold strictly");
    public static final Setting<Integer> MAX_NUM_REQS_PER_KEY = count("max-num-reqs-per-key", Group.MEMORY, "0", 0,
            "requests that one API key may have running and waiting; 0: no limit");
    public static final Setting<Integer> MAX_TOKENS_PER_MINUTE_PER_KEY = count("max-tokens-per-minute-per-key", Group.MEMORY, "0", 0,
            "prompt and output tokens that one API key may use, averaged over a minute; 0: no limit");
    public static final Setting<Boolean> ASYNC_SCHEDULING = declare("async-scheduling", List.of(), Group.MEMORY, Kind.SWITCH, "", "false",
            false, Values.bool(), "plan and submit the next step while one runs; a request that ends costs a surplus row in that step");
    public static final Setting<Double> MEMORY_UTILIZATION = declare("memory-utilization", List.of("gpu-memory-utilization"), Group.MEMORY,
            Kind.VALUE, "SHARE", "auto", false, Values.one(text -> text.equals("auto") ? 0.0 : Values.fraction(0, 1).parse(List.of(text))),
            "share of the memory available at start, or free on the GPU, for weights, workspace and KV cache together; auto: 0.5, on a GPU 0.9");
    public static final Setting<Long> KV_CACHE_MEMORY_BYTES = declare("kv-cache-memory-bytes", List.of(), Group.MEMORY, Kind.VALUE, "BYTES",
            "auto", false, Values.bytes(), "KV cache of at most this size (2GiB, 512M) instead of a share; never more than --max-num-seqs full contexts can use");
    public static final Setting<String> KV_CACHE_DTYPE = declare("kv-cache-dtype", List.of(), Group.MEMORY, Kind.VALUE, "TYPE", "auto",
            false, Values.choice("auto", "float32", "float16", "bfloat16", "q8_0"),
            "auto (the weights' type; float16 where they are quantised), float32, float16, bfloat16, or q8_0 (8 bits and a scale for each 32)");
    public static final Setting<Integer> BLOCK_SIZE = declare("block-size", List.of(), Group.MEMORY, Kind.VALUE, "TOKENS", "16", false,
            Values.one(text -> {
                int value = Values.count(1, 256, false).parse(List.of(text));
                if (Integer.bitCount(value) != 1) {
                    throw new IllegalArgumentException("use a power of two from 1 to 256");
                }
                return value;
            }), "tokens per KV cache block");
    public static final Setting<Integer> NUM_BLOCKS = count("num-gpu-blocks-override", List.of("num-blocks-override"), Group.MEMORY, "auto", 1, MANY,
            "exactly so many KV blocks, for tests");
    public static final Setting<Boolean> ENABLE_PREFIX_CACHING = declare("enable-prefix-caching", List.of(), Group.MEMORY, Kind.SWITCH, "",
            "true", false, Values.bool(), "keep what was computed for later requests that begin alike; --no-enable-prefix-caching turns it off");

    public static final Setting<String> BACKEND = declare("backend", List.of("device"), Group.MACHINE, Kind.VALUE, "cpu|cuda|auto|reference", "cpu", false,
            Values.choice("cpu", "cuda", "auto", "reference"), "cpu: native kernels; cuda: an NVIDIA GPU; auto: cuda where there is one, else cpu;"
                    + " reference: scalar Java, slow, to compare with");
    public static final Setting<String> CUDA_DRIVER = declare("cuda-driver", List.of(), Group.MACHINE, Kind.VALUE, "mixed|ffm|jcuda", "mixed", false,
            Values.choice("mixed", "ffm", "jcuda"), "how a GPU's driver is called: ffm: Java's foreign function interface; jcuda: JCuda; mixed: JCuda"
                    + " for what a start asks once, the other for the steps");
    public static final Setting<String> DTYPE = declare("dtype", List.of(), Group.MACHINE, Kind.VALUE, "TYPE", "auto", false,
            Values.choice("auto", "bfloat16", "float16", "float32"), "products of weights that are not quantised; auto: bfloat16 for bfloat16 and"
                    + " float16 weights where the processor has it, else exact; bfloat16: for all; float16, float32: exact");
    public static final Setting<Integer> THREADS = count("threads", Group.MACHINE, "auto", 1, 1024, "compute threads; auto: one per available core");
    public static final Setting<String> THREADS_BIND = declare("threads-bind", List.of(), Group.MACHINE, Kind.VALUE, "CPUS", "none", false,
            Values.text(), "processors that compute threads are bound to: a list (0-3,8), auto (physical cores first), or none");

    public static final Setting<String> HOST = declare("host", List.of(), Group.SERVER, Kind.VALUE, "ADDRESS", "127.0.0.1", false,
            Values.text(), "address to listen on; 0.0.0.0 for all interfaces");
    public static final Setting<Integer> PORT = declare("port", List.of(), Group.SERVER, Kind.VALUE, "INT", "8000", false,
            Values.count(0, 65535, false), "port to listen on; 0 takes a free one and prints it");
    public static final Setting<List<String>> SERVED_MODEL_NAME = declare("served-model-name", List.of(), Group.SERVER, Kind.VALUE,
            "NAME", "", true, Values.list(), "name the API answers to (repeatable, the first is reported); default: the folder's or file's name");
    public static final Setting<List<String>> API_KEY = declare("api-key", List.of(), Group.SERVER, Kind.VALUE, "KEY", "", true,
            Values.list(), "key that clients must present as 'Authorization: Bearer KEY' (repeatable); default: no key is asked for");
    public static final Setting<String> TOOL_CALL_PARSER = declare("tool-call-parser", List.of(), Group.SERVER, Kind.VALUE, "FORMAT", "auto",
            false, Values.choice("auto", "hermes", "llama3_json", "mistral", "granite", "phi4_mini_json", "kimi_k2", "deepseek_v3", "deepseek_v31",
            "qwen3_coder", "json"), "how the model writes tool calls: hermes, llama3_json, mistral, granite, phi4_mini_json, kimi_k2, deepseek_v3,"
                    + " deepseek_v31, qwen3_coder or json; auto: as its chat template shows");
    public static final Setting<String> REASONING_PARSER = declare("reasoning-parser", List.of(), Group.SERVER, Kind.VALUE, "FORMAT", "auto",
            false, Values.choice("auto", "none", "think", "mistral"),
            "how the model marks its thoughts, which answers carry apart: think (<think>), mistral ([THINK]) or none; auto: as its chat template shows");
    public static final Setting<Duration> SHUTDOWN_TIMEOUT = declare("shutdown-timeout", List.of(), Group.SERVER, Kind.VALUE, "SECONDS",
            "30", false, Values.seconds(3600), "after SIGTERM running requests may finish for so long");
    public static final Setting<Duration> STEP_TIMEOUT = declare("step-timeout", List.of(), Group.SERVER, Kind.VALUE, "SECONDS", "60",
            false, Values.seconds(1, 86_400), "work without a finished step for so long, and ten times the slowest step of late, is a stall: "
                    + "/health fails, the log gets the state; three times as long ends the requests with an error");
    public static final Setting<Boolean> DISABLE_LOG_STATS = declare("disable-log-stats", List.of(), Group.SERVER, Kind.SWITCH, "",
            "false", false, Values.bool(), "no line of statistics every 5 seconds of work");

    static {
        later("tensor-parallel-size", List.of("tp"), "1", "this version computes on one machine's cores as one shard");
        later("pipeline-parallel-size", List.of("pp"), "1", "this version computes on one machine's cores as one shard");
        later("data-parallel-size", List.of("dp"), "1", "start several servers on different ports instead");
        laterSwitch("enable-chunked-prefill", "true", "prompts longer than a step are always computed in chunks; --max-prefill-chunk sets their size");
        laterSwitch("enable-lora", "false", "adapters are not supported yet; merge them into the weights");
        laterSwitch("trust-remote-code", "false", "model code in Python is never run");
        laterSwitch("enable-auto-tool-choice", "true", "the model may always call the tools of a request");
        later("speculative-config", List.of(), "none", "speculative decoding is not supported yet");
        later("load-format", List.of(), "auto", "weights are read from safetensors and GGUF files");
    }

    /** All of the above. */
    public static final List<Setting<?>> ALL = List.copyOf(DECLARED);

    private Settings() {}

    private static <T> Setting<T> declare(String key, List<String> aliases, Group group, Kind kind, String placeholder, String defaultText,
            boolean repeatable, Setting.Parser<T> parser, String description) {
        Setting<T> setting = new Setting<>(key, aliases, group, kind, placeholder, defaultText, repeatable, parser, description);
        DECLARED.add(setting);
        return setting;
    }

    private static String quantization(String text) {
        String name = text.toLowerCase(Locale.ROOT);
        return switch (name) {
            case "none", "q8_0", "q4_0", "q4_k" -> name;
            case "q4_k_m", "q4_k_s", "q5_0", "q5_k_m", "q6_k" -> throw new UnsupportedOperationException(
                    "weights are rounded to q8_0, q4_0 or q4_k at load; a .gguf file may hold the others and needs no flag");
            case "awq", "gptq", "fp8", "bitsandbytes", "compressed-tensors", "int8", "awq_marlin", "gptq_marlin", "mxfp4" -> throw new
                    UnsupportedOperationException("checkpoints of that kind are not read yet; use q8_0, q4_0 or q4_k with an unquantised model");
            default -> throw new IllegalArgumentException("use one of none, q8_0, q4_0, q4_k");
        };
    }

    /** The setting of that key or alias, with dashes or underscores. */
    public static Optional<Setting<?>> find(String name) {
        return ALL.stream().filter(setting -> setting.answersTo(name)).findFirst();
    }

    /** The setting whose key is spelt most alike, if any is like it. */
    public static Optional<Setting<?>> nearest(String kebab) {
        Setting<?> best = null;
        int bestDistance = Math.max(2, kebab.length() / 3) + 1;
        for (Setting<?> setting : ALL) {
            int distance = editDistance(kebab, setting.key());
            if (distance < bestDistance) {
                bestDistance = distance;
                best = setting;
            }
        }
        return Optional.ofNullable(best);
    }

    private static int editDistance(String a, String b) {
        int[] row = new int[b.length() + 1];
        for (int j = 0; j <= b.length(); j++) {
            row[j] = j;
        }
        for (int i = 1; i <= a.length(); i++) {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= b.length(); j++) {
                int substituted = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.min(substituted, Math.min(row[j], row[j - 1]) + 1);
            }
        }
        return row[b.length()];
    }

    private static Setting<Integer> count(String key, Group group, String defaultText, int min, String description) {
        return count(key, group, defaultText, min, MANY, description);
    }

    private static Setting<Integer> count(String key, Group group, String defaultText, int min, int max, String description) {
        return count(key, List.of(), group, defaultText, min, max, description);
    }

    private static Setting<Integer> count(String key, List<String> aliases, Group group, String defaultText, int min, int max, String description) {
        return declare(key, aliases, group, Kind.VALUE, "INT", defaultText, false, Values.count(min, max, defaultText.equals("auto")), description);
    }

    /** Refused rather than ignored: a user who asks for it must not believe to have got it. */
    private static Setting<String> later(String key, List<String> aliases, String only, String why) {
        return declare(key, aliases, Group.LATER, Kind.VALUE, only, only, false, Values.one(text -> {
            if (!text.equalsIgnoreCase(only)) {
                throw new UnsupportedOperationException("only " + only + " is supported: " + why);
            }
            return only;
        }), why);
    }

    private static Setting<Boolean> laterSwitch(String key, String only, String why) {
        return declare(key, List.of(), Group.LATER, Kind.SWITCH, "", only, false, texts -> {
            boolean value = Values.bool().parse(texts);
            if (value != Boolean.parseBoolean(only)) {
                throw new UnsupportedOperationException("only " + only + " is supported: " + why);
            }
            return value;
        }, why);
    }
}

package io.millrace.server.config;

import java.util.List;
import java.util.Optional;
import java.util.function.Function;

/**
 * Something that holds between settings which are right one by one. It is looked at only where all of them could be read, so that a problem
 * of one is not told a second time as a contradiction.
 *
 * @param about   the settings that decide
 * @param problem the message, with its code, if the rule is broken
 */
record Rule(List<Setting<?>> about, Function<ServerConfig, Optional<String>> problem) {
    /** For every command that loads a model. */
    static final List<Rule> LOADING = List.of(
            rule(config -> {
                int tokens = config.get(Settings.MAX_NUM_BATCHED_TOKENS);
                int seqs = config.get(Settings.MAX_NUM_SEQS);
                return tokens > 0 && tokens < seqs ? "CLI-005: --max-num-batched-tokens " + tokens + " is below --max-num-seqs " + seqs
                        + ", so that many sequences could never run together; lower --max-num-seqs or raise the tokens" : null;
            }, Settings.MAX_NUM_BATCHED_TOKENS, Settings.MAX_NUM_SEQS),
            rule(config -> {
                int tokens = config.get(Settings.MAX_NUM_BATCHED_TOKENS);
                int chunk = config.get(Settings.MAX_PREFILL_CHUNK);
                return tokens > 0 && chunk > tokens ? "CLI-005: --max-prefill-chunk " + chunk + " is above --max-num-batched-tokens " + tokens
                        + "; a chunk cannot be larger than a step" : null;
            }, Settings.MAX_NUM_BATCHED_TOKENS, Settings.MAX_PREFILL_CHUNK),
            rule(config -> !config.get(Settings.QUANTIZATION_CACHE).equals("none") && config.get(Settings.QUANTIZATION).equals("none")
                    ? "CLI-005: --quantization-cache " + config.get(Settings.QUANTIZATION_CACHE) + " keeps weights that --quantization rounded, but"
                            + " --quantization is none; give both or neither" : null, Settings.QUANTIZATION, Settings.QUANTIZATION_CACHE),
            rule(config -> config.get(Settings.NUM_BLOCKS) > 0 && config.get(Settings.KV_CACHE_MEMORY_BYTES) > 0
                    ? "CLI-005: --num-gpu-blocks-override and --kv-cache-memory-bytes both set the size of the KV cache; give one" : null,
                    Settings.NUM_BLOCKS, Settings.KV_CACHE_MEMORY_BYTES));

    /** For a server, besides. */
    static final List<Rule> SERVING = List.of(
            rule(config -> config.get(Settings.API_KEY).isEmpty() && config.get(Settings.SCHEDULING_POLICY).equals("fair")
                    ? keysMissing("--scheduling-policy fair") : null, Settings.API_KEY, Settings.SCHEDULING_POLICY),
            rule(config -> config.get(Settings.API_KEY).isEmpty() && config.get(Settings.MAX_NUM_REQS_PER_KEY) > 0
                    ? keysMissing(Settings.MAX_NUM_REQS_PER_KEY.flag()) : null, Settings.API_KEY, Settings.MAX_NUM_REQS_PER_KEY),
            rule(config -> config.get(Settings.API_KEY).isEmpty() && config.get(Settings.MAX_TOKENS_PER_MINUTE_PER_KEY) > 0
                    ? keysMissing(Settings.MAX_TOKENS_PER_MINUTE_PER_KEY.flag()) : null, Settings.API_KEY, Settings.MAX_TOKENS_PER_MINUTE_PER_KEY),
            rule(config -> {
                try {
                    config.modelPath();
                    return null;
                } catch (ConfigException e) {
                    return e.getMessage();
                }
            }, Settings.MODEL));

    private static Rule rule(Function<ServerConfig, String> problem, Setting<?>... about) {
        return new Rule(List.of(about), config -> Optional.ofNullable(problem.apply(config)));
    }

    private static String keysMissing(String flag) {
        return "CLI-005: " + flag + " is about API keys, and there are none; give each client one of its own with --api-key";
    }
}

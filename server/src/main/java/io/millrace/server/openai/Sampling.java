package io.millrace.server.openai;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.engine.EngineLimits;
import io.millrace.engine.LoadedModel.GenerationDefaults;
import io.millrace.engine.SamplingParams;
import io.millrace.engine.grammar.Constraint;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.function.LongSupplier;

/**
 * The fields of a request that say how tokens are chosen and when to stop, checked against the model's limits; common to completions and
 * chat.
 *
 * @param seed          as sent; empty = a fresh one per choice
 * @param stop          strings that end the text, none empty
 * @param stopTokenIds  ids that end it
 * @param constraint    what the text must be, or null
 */
record Sampling(float temperature, int topK, float topP, float minP, float repetitionPenalty, float frequencyPenalty,
        float presencePenalty, OptionalLong seed, int n, int minTokens, boolean ignoreEos, int[] stopTokenIds, int[] biasIds,
        float[] biasValues, List<String> stop, boolean includeStop, boolean skipSpecialTokens, Constraint constraint) {

    private static final int MAX_N = 128;
    private static final int MAX_STOPS = 64;
    private static final int MAX_STOP_LENGTH = 1024;
    private static final int MAX_STOP_IDS = 1024;

    static Sampling parse(Fields fields, EngineLimits limits, GenerationDefaults defaults, Constraint constraint) {
        int vocabSize = limits.vocabSize();
        int[] biasIds = {};
        float[] biasValues = {};
        JsonNode bias = fields.get("logit_bias");
        if (bias != null && !bias.isEmpty()) {
            biasIds = new int[bias.size()];
            biasValues = new float[bias.size()];
            parseBias(fields, bias, vocabSize, biasIds, biasValues);
        }
        int topK = fields.integer("top_k", -1, Integer.MAX_VALUE).orElse(defaults.topK().orElse(0));
        return new Sampling(
                fields.number("temperature", 0, false, Float.MAX_VALUE).orElse(defaults.temperature().orElse(1f)),
                Math.max(topK, 0),
                fields.number("top_p", 0, true, 1).orElse(defaults.topP().orElse(1f)),
                fields.number("min_p", 0, false, 1).orElse(defaults.minP().orElse(0f)),
                fields.number("repetition_penalty", 0, true, Float.MAX_VALUE).orElse(defaults.repetitionPenalty().orElse(1f)),
                fields.number("frequency_penalty", -2, false, 2).orElse(0f),
                fields.number("presence_penalty", -2, false, 2).orElse(0f),
                fields.longInteger("seed"),
                fields.integer("n", 1, MAX_N).orElse(1),
                // A text that is complete has nothing to go on with.
                constraint == null ? fields.integer("min_tokens", 0, limits.maxModelLen()).orElse(0) : 0,
                fields.flag("ignore_eos", false) && constraint == null,
                ids(fields, "stop_token_ids", vocabSize),
                biasIds, biasValues,
                stops(fields),
                fields.flag("include_stop_str_in_output", false),
                fields.flag("skip_special_tokens", true), constraint);
    }

    /**
     * @param sample           which of the n choices: they must differ although the seed is the same
     * @param numLogprobs      -1 = none
     * @param numPromptLogprobs -1 = none
     * @param freshSeeds       where a request without a seed has it from
     */
    SamplingParams params(int sample, int maxTokens, int numLogprobs, int numPromptLogprobs, LongSupplier freshSeeds) {
        if (minTokens > maxTokens) {
            throw ApiException.badRequest("min_tokens",
                    "`min_tokens` is " + minTokens + ", more than the " + maxTokens + " tokens that may be generated.");
        }
        return SamplingParams.builder().temperature(temperature).topK(topK).topP(topP).minP(minP).repetitionPenalty(repetitionPenalty)
                .frequencyPenalty(frequencyPenalty).presencePenalty(presencePenalty)
                .seed(seed.isPresent() ? Seeds.ofChoice(seed.getAsLong(), sample) : freshSeeds.getAsLong())
                .maxTokens(maxTokens).minTokens(minTokens).ignoreEos(ignoreEos).stopTokenIds(stopTokenIds)
                .bias(biasIds, biasValues).numLogprobs(numLogprobs).numPromptLogprobs(numPromptLogprobs).constraint(constraint).build();
    }

    private static void parseBias(Fields fields, JsonNode bias, int vocabSize, int[] ids, float[] values) {
        if (!bias.isObject()) {
            throw fields.wrongType("logit_bias", bias, "an object of token ids and numbers");
        }
        List<String> badKeys = new ArrayList<>();
        bias.fieldNames().forEachRemaining(key -> {
            if (!key.matches("[0-9]{1,9}")) {
                badKeys.add(Fields.clip(key));
            }
        });
        java.util.Set<Integer> seen = new java.util.HashSet<>();
        if (!badKeys.isEmpty()) {
            throw ApiException.badRequest("logit_bias", "Keys of `logit_bias` must be token ids; these are not: "
                    + String.join(", ", badKeys.subList(0, Math.min(badKeys.size(), 20))) + ".");
        }
        int i = 0;
        for (Map.Entry<String, JsonNode> entry : bias.properties()) {
            ids[i] = Integer.parseInt(entry.getKey());
            if (ids[i] >= vocabSize) {
                throw ApiException.badRequest("logit_bias",
                        "`logit_bias` names token id " + ids[i] + ", but the vocabulary has " + vocabSize + " tokens.");
            }
            if (!seen.add(ids[i])) {
                throw ApiException.badRequest("logit_bias", "`logit_bias` names token id " + ids[i] + " twice.");
            }
            values[i++] = Fields.floatValue("logit_bias." + entry.getKey(), entry.getValue(), -100, false, 100);
        }
    }

    private static List<String> stops(Fields fields) {
        JsonNode stop = fields.get("stop");
        if (stop == null) {
            return List.of();
        }
        if (!stop.isTextual() && !stop.isArray()) {
            throw fields.wrongType("stop", stop, "a string or an array of strings");
        }
        List<String> strings = new ArrayList<>();
        for (JsonNode item : stop.isTextual() ? List.of(stop) : stop) {
            if (!item.isTextual()) {
                throw fields.wrongType("stop", item, "a string or an array of strings");
            }
            String text = item.textValue();
            if (text.isEmpty() || text.length() > MAX_STOP_LENGTH) {
                throw ApiException.badRequest("stop", "A string of `stop` has " + text.length() + " characters; 1 to " + MAX_STOP_LENGTH
                        + " are allowed.");
            }
            strings.add(text);
        }
        if (strings.size() > MAX_STOPS) {
            throw ApiException.badRequest("stop", "`stop` has " + strings.size() + " strings; at most " + MAX_STOPS + " are allowed.");
        }
        return List.copyOf(strings);
    }

    private static int[] ids(Fields fields, String name, int vocabSize) {
        JsonNode list = fields.get(name);
        if (list == null) {
            return new int[0];
        }
        if (!list.isArray()) {
            throw fields.wrongType(name, list, "an array of token ids");
        }
        if (list.size() > MAX_STOP_IDS) {
            throw ApiException.badRequest(name, "`" + name + "` has " + list.size() + " ids; at most " + MAX_STOP_IDS + " are allowed.");
        }
        return tokenIds(name, list, vocabSize);
    }

    /** Ids of a JSON array, each within the vocabulary. */
    static int[] tokenIds(String name, JsonNode list, int vocabSize) {
        int[] ids = new int[list.size()];
        for (int i = 0; i < ids.length; i++) {
            JsonNode item = list.get(i);
            if (!item.isIntegralNumber()) {
                throw Fields.typeError(name, item, "made of token ids");
            }
            long id = item.canConvertToLong() ? item.longValue() : -1;
            if (id < 0 || id >= vocabSize) {
                throw ApiException.badRequest(name,
                        "`" + name + "` names token id " + Fields.clip(item.toString()) + ", but the vocabulary has " + vocabSize + " tokens.");
            }
            ids[i] = (int) id;
        }
        return ids;
    }
}

package io.millrace.engine;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.engine.weights.Checkpoint;
import io.millrace.engine.weights.GgufBytes;
import io.millrace.engine.weights.StoredTensor;
import io.millrace.kernels.DType;
import io.millrace.kernels.QuantFormat;
import io.millrace.kernels.WeightFormat;
import io.millrace.kernels.WeightPart;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;

/**
 * Turns a folder in the Hugging Face layout into a GGUF file the way converters do: keys and tensor names of the architecture, query and key
 * rows in pairs where its files have them so, Gemma's norm weights with their 1, Llama 3's and Phi-3's rope factors as tensors. Reads
 * {@code config.json} by itself and shares no code with what reads the result.
 */
final class GgufConversion {
    private static final Map<String, String> ARCHITECTURES = Map.of("LlamaForCausalLM", "llama", "MistralForCausalLM", "llama",
            "Qwen2ForCausalLM", "qwen2", "Qwen3ForCausalLM", "qwen3", "GemmaForCausalLM", "gemma", "Gemma2ForCausalLM", "gemma2",
            "Gemma3ForCausalLM", "gemma3", "Phi3ForCausalLM", "phi3", "GraniteForCausalLM", "granite", "SmolLM3ForCausalLM", "smollm3");
    private static final Set<String> PAIRED = Set.of("llama", "granite", "smollm3");

    private final JsonNode config;
    private final String arch;
    private final GgufBytes out = new GgufBytes();
    private final int layers;
    private final int heads;
    private final int kvHeads;
    private final int headDim;
    private final int context;

    private GgufConversion(Path folder) {
        config = TestData.json(folder.resolve("config.json"));
        arch = ARCHITECTURES.get(config.at("/architectures/0").asText());
        layers = config.get("num_hidden_layers").intValue();
        heads = config.get("num_attention_heads").intValue();
        kvHeads = config.get("num_key_value_heads").intValue();
        headDim = config.hasNonNull("head_dim") ? config.get("head_dim").intValue() : config.get("hidden_size").intValue() / heads;
        context = config.get("max_position_embeddings").intValue();
    }

    static GgufBytes of(Path folder) {
        return of(folder, null);
    }

    /** @param format of the matrices whose rows are whole blocks of it; null: as stored */
    static GgufBytes of(Path folder, QuantFormat format) {
        return of(folder, format, null);
    }

    /** @param narrow of those whose rows are whole blocks of this only */
    static GgufBytes of(Path folder, QuantFormat format, QuantFormat narrow) {
        GgufConversion conversion = new GgufConversion(folder);
        conversion.sizes();
        conversion.attention();
        conversion.rope();
        conversion.tensors(folder, format, narrow);
        return conversion.out;
    }

    private void put(String key, Object value) {
        out.put(arch + "." + key, value);
    }

    private void sizes() {
        out.put("general.architecture", arch);
        put("context_length", context);
        put("embedding_length", config.get("hidden_size").intValue());
        put("block_count", layers);
        put("feed_forward_length", config.get("intermediate_size").intValue());
        put("attention.head_count", heads);
        put("attention.head_count_kv", kvHeads);
        put("attention.layer_norm_rms_epsilon", config.get("rms_norm_eps").floatValue());
        put("attention.key_length", headDim);
        put("attention.value_length", headDim);
        if (config.get("eos_token_id").isInt()) {
            out.put("tokenizer.ggml.eos_token_id", config.get("eos_token_id").intValue());
        }
    }

    private void attention() {
        boolean slides = config.hasNonNull("sliding_window") && config.path("use_sliding_window").asBoolean(true);
        if (slides) {
            put("attention.sliding_window", config.get("sliding_window").intValue());
        }
        if (slides && config.has("layer_types") || slides && arch.equals("qwen2")) {
            boolean[] pattern = new boolean[layers];
            for (int i = 0; i < layers; i++) {
                pattern[i] = config.has("layer_types") ? config.at("/layer_types/" + i).asText().equals("sliding_attention")
                        : i >= config.get("max_window_layers").intValue();
            }
            put("attention.sliding_window_pattern", pattern);
        }
        if (config.hasNonNull("query_pre_attn_scalar")) {
            put("attention.scale", (float) (1 / Math.sqrt(config.get("query_pre_attn_scalar").doubleValue())));
        }
        if (config.hasNonNull("attn_logit_softcapping")) {
            put("attn_logit_softcapping", config.get("attn_logit_softcapping").floatValue());
            put("final_logit_softcapping", config.get("final_logit_softcapping").floatValue());
        }
        if (arch.equals("granite")) {
            put("attention.scale", config.get("attention_multiplier").floatValue());
            put("embedding_scale", config.get("embedding_multiplier").floatValue());
            put("residual_scale", config.get("residual_multiplier").floatValue());
            put("logit_scale", config.get("logits_scaling").floatValue());
        }
    }

    private void rope() {
        JsonNode parameters = config.hasNonNull("rope_parameters") ? config.get("rope_parameters") : config.path("rope_scaling");
        JsonNode full = parameters.has("full_attention") ? parameters.get("full_attention") : parameters;
        double theta = (full.has("rope_theta") ? full : config).get("rope_theta").doubleValue();
        put("rope.freq_base", (float) theta);
        int rotary = (int) (headDim * config.path("partial_rotary_factor").asDouble(1));
        put("rope.dimension_count", rotary);
        if (parameters.has("sliding_attention")) {
            put("rope.freq_base_swa", parameters.at("/sliding_attention/rope_theta").floatValue());
        }
        switch (full.path("rope_type").asText(full.path("type").asText("default"))) {
            case "linear" -> {
                put("rope.scaling.type", "linear");
                put("rope.scaling.factor", full.get("factor").floatValue());
            }
            case "yarn" -> {
                put("rope.scaling.type", "yarn");
                put("rope.scaling.factor", full.get("factor").floatValue());
                put("rope.scaling.original_context_length", full.get("original_max_position_embeddings").intValue());
            }
            case "llama3" -> out.floats("rope_freqs.weight", llama3Factors(full, theta, rotary));
            case "longrope", "su" -> {
                int original = config.get("original_max_position_embeddings").intValue();
                put("rope.scaling.original_context_length", original);
                double stretch = (double) context / original;
                put("rope.scaling.attn_factor", stretch <= 1 ? 1f : (float) Math.sqrt(1 + Math.log(stretch) / Math.log(original)));
                out.floats("rope_factors_long.weight", floats(full.get("long_factor")));
                out.floats("rope_factors_short.weight", floats(full.get("short_factor")));
            }
            default -> { }
        }
    }

    private static float[] llama3Factors(JsonNode p, double theta, int rotary) {
        double factor = p.get("factor").doubleValue();
        double low = p.get("low_freq_factor").doubleValue();
        double high = p.get("high_freq_factor").doubleValue();
        double original = p.get("original_max_position_embeddings").doubleValue();
        float[] factors = new float[rotary / 2];
        for (int i = 0; i < factors.length; i++) {
            double turns = original * Math.pow(theta, -2.0 * i / rotary) / (2 * Math.PI);
            double smooth = (turns - low) / (high - low);
            factors[i] = (float) (turns > high ? 1 : turns < low ? factor : 1 / ((1 - smooth) / factor + smooth));
        }
        return factors;
    }

    private static float[] floats(JsonNode list) {
        float[] values = new float[list.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = list.get(i).floatValue();
        }
        return values;
    }

    private void tensors(Path folder, QuantFormat wide, QuantFormat narrow) {
        try (Checkpoint checkpoint = Checkpoint.open(folder); Arena arena = Arena.ofShared()) {
            for (String name : checkpoint.names()) {
                StoredTensor tensor = checkpoint.tensor(name).orElseThrow();
                long[] shape = tensor.shape().stream().mapToLong(Long::longValue).toArray();
                WeightFormat type = tensor.format().orElseThrow();
                MemorySegment data = tensor.data();
                String to = ggufName(name);
                if (shape.length == 1) {
                    out.floats(to, vector(name, tensor, (DType) type));
                    continue;
                }
                if (PAIRED.contains(arch) && name.matches(".*[qk]_proj.weight")) {
                    data = paired(data, shape[0], name.contains("q_proj") ? heads : kvHeads, arena);
                }
                QuantFormat format = wide != null && wide.fits(shape[1]) ? wide : narrow;
                if (format != null && format.fits(shape[1])) {
                    out.tensor(to, format, shape, TestBlocks.encode(new WeightPart(name, type, shape[0], shape[1], data), format, arena));
                } else {
                    out.tensor(to, type, shape, data);
                }
            }
        }
    }

    private float[] vector(String name, StoredTensor tensor, DType type) {
        float[] values = new float[tensor.shape().getFirst().intValue()];
        for (int i = 0; i < values.length; i++) {
            values[i] = type.load(tensor.data(), i) + (arch.startsWith("gemma") && name.endsWith("norm.weight") ? 1 : 0);
        }
        if (PAIRED.contains(arch) && name.matches(".*[qk]_proj.bias")) {
            MemorySegment paired = paired(MemorySegment.ofArray(values), values.length, name.contains("q_proj") ? heads : kvHeads,
                    Arena.ofAuto());
            return paired.toArray(java.lang.foreign.ValueLayout.JAVA_FLOAT);
        }
        return values;
    }

    /** Rows i and i + half of a head become neighbours. */
    private static MemorySegment paired(MemorySegment data, long rows, int heads, Arena arena) {
        MemorySegment copy = arena.allocate(data.byteSize(), 8);
        long rowBytes = data.byteSize() / rows;
        long dim = rows / heads;
        for (long row = 0; row < rows; row++) {
            long i = row % dim;
            long to = row - i + (i < dim / 2 ? 2 * i : 2 * (i - dim / 2) + 1);
            MemorySegment.copy(data, row * rowBytes, copy, to * rowBytes, rowBytes);
        }
        return copy;
    }

    private String ggufName(String name) {
        String[] parts = name.split("\\.");
        String suffix = "." + parts[parts.length - 1];
        if (!name.startsWith("model.layers.")) {
            return Map.of("model.embed_tokens", "token_embd", "model.norm", "output_norm", "lm_head", "output")
                    .get(name.substring(0, name.lastIndexOf('.'))) + suffix;
        }
        boolean fourNorms = arch.equals("gemma2") || arch.equals("gemma3");
        String part = parts[parts.length - 2];
        return "blk." + parts[2] + "." + switch (part) {
            case "input_layernorm" -> "attn_norm";
            case "q_proj" -> "attn_q";
            case "k_proj" -> "attn_k";
            case "v_proj" -> "attn_v";
            case "qkv_proj" -> "attn_qkv";
            case "o_proj" -> "attn_output";
            case "q_norm" -> "attn_q_norm";
            case "k_norm" -> "attn_k_norm";
            case "gate_proj" -> "ffn_gate";
            case "up_proj", "gate_up_proj" -> "ffn_up";
            case "down_proj" -> "ffn_down";
            case "post_attention_layernorm" -> fourNorms ? "post_attention_norm" : "ffn_norm";
            case "pre_feedforward_layernorm" -> "ffn_norm";
            case "post_feedforward_layernorm" -> "post_ffw_norm";
            default -> throw new IllegalArgumentException(name);
        } + suffix;
    }
}

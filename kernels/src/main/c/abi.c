/* The layout that the C compiler chose, for comparison with the Java bindings. */
#include "internal.h"

#define SIZE(type) (int32_t)sizeof(type)
#define AT(type, member) (int32_t)offsetof(type, member)

static const int32_t layout[] = {
    SIZE(mr_matrix),
    AT(mr_matrix, data), AT(mr_matrix, rows), AT(mr_matrix, cols), AT(mr_matrix, extent), AT(mr_matrix, reserved),
    SIZE(mr_weight),
    AT(mr_weight, data), AT(mr_weight, next), AT(mr_weight, out_features), AT(mr_weight, in_features), AT(mr_weight, format),
    AT(mr_weight, deferred),
    SIZE(mr_kv_cache),
    AT(mr_kv_cache, keys), AT(mr_kv_cache, values), AT(mr_kv_cache, num_layers), AT(mr_kv_cache, num_blocks), AT(mr_kv_cache, block_size),
    AT(mr_kv_cache, num_kv_heads), AT(mr_kv_cache, head_dim), AT(mr_kv_cache, dtype),
    SIZE(mr_embed_args),
    AT(mr_embed_args, table), AT(mr_embed_args, out), AT(mr_embed_args, scale), AT(mr_embed_args, reserved),
    SIZE(mr_rms_norm_args),
    AT(mr_rms_norm_args, x), AT(mr_rms_norm_args, weight), AT(mr_rms_norm_args, out), AT(mr_rms_norm_args, eps),
    AT(mr_rms_norm_args, reserved),
    SIZE(mr_add_rms_norm_args),
    AT(mr_add_rms_norm_args, residual), AT(mr_add_rms_norm_args, delta), AT(mr_add_rms_norm_args, weight), AT(mr_add_rms_norm_args, out),
    AT(mr_add_rms_norm_args, eps), AT(mr_add_rms_norm_args, reserved),
    SIZE(mr_add_args),
    AT(mr_add_args, residual), AT(mr_add_args, delta),
    SIZE(mr_linear_args),
    AT(mr_linear_args, x), AT(mr_linear_args, weight), AT(mr_linear_args, bias), AT(mr_linear_args, out),
    SIZE(mr_rope_args),
    AT(mr_rope_args, qkv), AT(mr_rope_args, cosine), AT(mr_rope_args, sine), AT(mr_rope_args, max_positions), AT(mr_rope_args, cache),
    AT(mr_rope_args, rotary_dim), AT(mr_rope_args, num_heads), AT(mr_rope_args, layer), AT(mr_rope_args, interleaved),
    AT(mr_rope_args, query_norm), AT(mr_rope_args, key_norm), AT(mr_rope_args, norm_eps), AT(mr_rope_args, reserved),
    SIZE(mr_attention_args),
    AT(mr_attention_args, qkv), AT(mr_attention_args, out), AT(mr_attention_args, cache), AT(mr_attention_args, num_heads),
    AT(mr_attention_args, layer), AT(mr_attention_args, scale), AT(mr_attention_args, soft_cap), AT(mr_attention_args, sinks),
    AT(mr_attention_args, window), AT(mr_attention_args, bf16_products),
    SIZE(mr_swiglu_args),
    AT(mr_swiglu_args, gate_up), AT(mr_swiglu_args, out),
    SIZE(mr_soft_cap_args),
    AT(mr_soft_cap_args, x), AT(mr_soft_cap_args, cap), AT(mr_soft_cap_args, reserved),
    SIZE(mr_gather_args),
    AT(mr_gather_args, x), AT(mr_gather_args, out),
    SIZE(mr_sample_args),
    AT(mr_sample_args, logits),
    SIZE(mr_op),
    AT(mr_op, kind), AT(mr_op, plan), AT(mr_op, args),
    SIZE(mr_batch),
    AT(mr_batch, counts), AT(mr_batch, token_ids), AT(mr_batch, positions), AT(mr_batch, token_sequence), AT(mr_batch, query_start),
    AT(mr_batch, context_len), AT(mr_batch, block_tables), AT(mr_batch, logit_rows), AT(mr_batch, temperature), AT(mr_batch, top_k),
    AT(mr_batch, top_p), AT(mr_batch, min_p), AT(mr_batch, repetition_penalty), AT(mr_batch, frequency_penalty),
    AT(mr_batch, presence_penalty), AT(mr_batch, seed), AT(mr_batch, draw_index), AT(mr_batch, target), AT(mr_batch, num_top),
    AT(mr_batch, history), AT(mr_batch, history_len), AT(mr_batch, prompt_len), AT(mr_batch, bias_ids), AT(mr_batch, bias_values),
    AT(mr_batch, bias_count), AT(mr_batch, suppress_ids), AT(mr_batch, suppress_count), AT(mr_batch, allowed_mask), AT(mr_batch, token),
    AT(mr_batch, logprob), AT(mr_batch, rank), AT(mr_batch, top_ids), AT(mr_batch, top_logprobs), AT(mr_batch, max_tokens),
    AT(mr_batch, max_sequences), AT(mr_batch, max_blocks_per_sequence), AT(mr_batch, max_logit_rows), AT(mr_batch, max_top),
    AT(mr_batch, reserved),
    AT(mr_batch, token_source), AT(mr_batch, history_source), AT(mr_batch, previous_token),
    SIZE(mr_cpu_info),
    AT(mr_cpu_info, logical_cores), AT(mr_cpu_info, best_isa), AT(mr_cpu_info, features), AT(mr_cpu_info, l1d_bytes),
    AT(mr_cpu_info, l2_bytes), AT(mr_cpu_info, l3_bytes),
};

int32_t mr_abi_version(void) { return MR_ABI_VERSION; }

int32_t mr_abi_layout(int32_t *out, int32_t capacity) {
    int32_t entries = (int32_t)(sizeof layout / sizeof *layout);
    for (int32_t i = 0; i < entries && i < capacity; i++) {
        out[i] = layout[i];
    }
    return entries;
}

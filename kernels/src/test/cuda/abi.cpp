// Sizes and offsets of the kernels' parameters as the compiler has them, for a test to compare with the Java side.
#include <cstddef>

#include "test.h"

namespace {

struct Field {
    const char *name;
    size_t offset;
    size_t bytes;
};

struct Structure {
    const char *name;
    size_t bytes;
    std::vector<Field> fields;
};

#define F(type, field) {#field, offsetof(type, field), sizeof(type::field)}
#define S(type, ...) {#type, sizeof(type), {__VA_ARGS__}}

const std::vector<Structure> structures = {
    S(mr_cuda_fault, F(mr_cuda_fault, code), F(mr_cuda_fault, row), F(mr_cuda_fault, value), F(mr_cuda_fault, limit)),
    S(mr_embed_params, F(mr_embed_params, table), F(mr_embed_params, token_ids), F(mr_embed_params, token_source),
      F(mr_embed_params, previous_token), F(mr_embed_params, out), F(mr_embed_params, rows), F(mr_embed_params, fault),
      F(mr_embed_params, vocab), F(mr_embed_params, hidden), F(mr_embed_params, scale), F(mr_embed_params, previous_rows)),
    S(mr_add_rms_norm_params, F(mr_add_rms_norm_params, residual), F(mr_add_rms_norm_params, delta), F(mr_add_rms_norm_params, weight),
      F(mr_add_rms_norm_params, out), F(mr_add_rms_norm_params, rows), F(mr_add_rms_norm_params, cols), F(mr_add_rms_norm_params, eps),
      F(mr_add_rms_norm_params, width), F(mr_add_rms_norm_params, reserved)),
    S(mr_add_params, F(mr_add_params, residual), F(mr_add_params, delta), F(mr_add_params, rows), F(mr_add_params, cols),
      F(mr_add_params, reserved)),
    S(mr_soft_cap_params, F(mr_soft_cap_params, x), F(mr_soft_cap_params, rows), F(mr_soft_cap_params, cols), F(mr_soft_cap_params, cap)),
    S(mr_qkv_post_params, F(mr_qkv_post_params, qkv), F(mr_qkv_post_params, bias), F(mr_qkv_post_params, query_norm),
      F(mr_qkv_post_params, key_norm), F(mr_qkv_post_params, cosine), F(mr_qkv_post_params, sine), F(mr_qkv_post_params, positions),
      F(mr_qkv_post_params, token_sequence), F(mr_qkv_post_params, block_tables), F(mr_qkv_post_params, q_out), F(mr_qkv_post_params, kv),
      F(mr_qkv_post_params, rows), F(mr_qkv_post_params, fault), F(mr_qkv_post_params, num_heads), F(mr_qkv_post_params, num_kv_heads),
      F(mr_qkv_post_params, head_dim), F(mr_qkv_post_params, rotary_dim), F(mr_qkv_post_params, interleaved),
      F(mr_qkv_post_params, max_positions), F(mr_qkv_post_params, max_blocks), F(mr_qkv_post_params, num_blocks),
      F(mr_qkv_post_params, q_stride), F(mr_qkv_post_params, norm_eps), F(mr_qkv_post_params, q_scale),
      F(mr_qkv_post_params, qkv_stride), F(mr_qkv_post_params, page_dim)),
    S(mr_decode_item, F(mr_decode_item, token), F(mr_decode_item, sequence), F(mr_decode_item, first_page), F(mr_decode_item, end_page),
      F(mr_decode_item, split), F(mr_decode_item, num_splits), F(mr_decode_item, first_item), F(mr_decode_item, reserved)),
    S(mr_prefill_tile, F(mr_prefill_tile, sequence), F(mr_prefill_tile, first_row)),
    S(mr_attention_plan_params, F(mr_attention_plan_params, query_start), F(mr_attention_plan_params, context_len),
      F(mr_attention_plan_params, decode_items), F(mr_attention_plan_params, prefill_tiles), F(mr_attention_plan_params, plan_counts),
      F(mr_attention_plan_params, sequences), F(mr_attention_plan_params, group), F(mr_attention_plan_params, sliding_window),
      F(mr_attention_plan_params, min_split_pages), F(mr_attention_plan_params, max_splits)),
    S(mr_paged_decode_params, F(mr_paged_decode_params, q), F(mr_paged_decode_params, kv), F(mr_paged_decode_params, block_tables),
      F(mr_paged_decode_params, positions), F(mr_paged_decode_params, items), F(mr_paged_decode_params, num_items),
      F(mr_paged_decode_params, sinks), F(mr_paged_decode_params, out), F(mr_paged_decode_params, partial_out),
      F(mr_paged_decode_params, partial_softmax), F(mr_paged_decode_params, arrivals), F(mr_paged_decode_params, fault),
      F(mr_paged_decode_params, num_kv_heads),
      F(mr_paged_decode_params, group), F(mr_paged_decode_params, max_blocks), F(mr_paged_decode_params, q_stride),
      F(mr_paged_decode_params, sliding_window), F(mr_paged_decode_params, soft_cap), F(mr_paged_decode_params, head_dim),
      F(mr_paged_decode_params, out_stride)),
    S(mr_paged_prefill_params, F(mr_paged_prefill_params, q), F(mr_paged_prefill_params, kv),
      F(mr_paged_prefill_params, block_tables), F(mr_paged_prefill_params, query_start), F(mr_paged_prefill_params, context_len),
      F(mr_paged_prefill_params, tiles), F(mr_paged_prefill_params, num_tiles), F(mr_paged_prefill_params, sinks),
      F(mr_paged_prefill_params, out), F(mr_paged_prefill_params, fault), F(mr_paged_prefill_params, num_kv_heads), F(mr_paged_prefill_params, group),
      F(mr_paged_prefill_params, max_blocks), F(mr_paged_prefill_params, q_stride), F(mr_paged_prefill_params, sliding_window),
      F(mr_paged_prefill_params, soft_cap), F(mr_paged_prefill_params, head_dim), F(mr_paged_prefill_params, out_stride)),
    S(mr_gate_params, F(mr_gate_params, gate_up), F(mr_gate_params, out), F(mr_gate_params, rows), F(mr_gate_params, cols),
      F(mr_gate_params, gate_up_stride), F(mr_gate_params, out_stride), F(mr_gate_params, reserved)),
    S(mr_linear_params, F(mr_linear_params, x), F(mr_linear_params, weight), F(mr_linear_params, bias),
      F(mr_linear_params, out), F(mr_linear_params, rows), F(mr_linear_params, in_features),
      F(mr_linear_params, out_features), F(mr_linear_params, soft_cap), F(mr_linear_params, reserved)),
    S(mr_gather_params, F(mr_gather_params, x), F(mr_gather_params, logit_rows), F(mr_gather_params, out), F(mr_gather_params, rows),
      F(mr_gather_params, cols), F(mr_gather_params, reserved)),
    S(mr_sample_params, F(mr_sample_params, logits), F(mr_sample_params, work), F(mr_sample_params, occurrences),
      F(mr_sample_params, rows), F(mr_sample_params, temperature), F(mr_sample_params, top_k), F(mr_sample_params, top_p),
      F(mr_sample_params, min_p), F(mr_sample_params, repetition_penalty), F(mr_sample_params, frequency_penalty), F(mr_sample_params, presence_penalty),
      F(mr_sample_params, seed), F(mr_sample_params, draw_index), F(mr_sample_params, target), F(mr_sample_params, num_top),
      F(mr_sample_params, history), F(mr_sample_params, history_len), F(mr_sample_params, history_source), F(mr_sample_params, prompt_len),
      F(mr_sample_params, bias_ids), F(mr_sample_params, bias_values), F(mr_sample_params, bias_count), F(mr_sample_params, suppress_ids),
      F(mr_sample_params, suppress_count), F(mr_sample_params, allowed_mask), F(mr_sample_params, previous_token), F(mr_sample_params, token),
      F(mr_sample_params, logprob), F(mr_sample_params, rank), F(mr_sample_params, top_ids), F(mr_sample_params, top_logprobs),
      F(mr_sample_params, fault), F(mr_sample_params, vocab), F(mr_sample_params, max_top)),
};

}  // namespace

// Property: the list above is complete: between the fields there is nothing but padding for alignment.
TEST(abi_lists_every_field) {
    for (const Structure &s : structures) {
        size_t end = 0;
        for (const Field &f : s.fields) {
            CHECK_MESSAGE(f.offset >= end && f.offset - end < f.bytes, std::string(s.name) + " lacks what stands before " + f.name);
            end = f.offset + f.bytes;
        }
        CHECK_MESSAGE(s.bytes - end < 8, std::string(s.name) + " lacks its last field");
        CHECK_MESSAGE(s.bytes <= 4096, std::string(s.name) + " is more than a launch takes");
    }
}

void print_abi() {
    std::printf("{\"structures\": {");
    for (const Structure &s : structures) {
        std::printf("%s\n  \"%s\": {\"bytes\": %zu", &s == &structures.front() ? "" : ",", s.name, s.bytes);
        for (const Field &f : s.fields) {
            std::printf(", \"%s\": [%zu, %zu]", f.name, f.offset, f.bytes);
        }
        std::printf("}");
    }
    std::printf("},\n \"launches\": {");
    const char *separator = "";
    for (const test::LaunchShape &l : test::launch_shapes()) {
        std::printf("%s\n  \"%s\": {\"threads\": %d, \"sharedBytes\": %zu}", separator, l.kernel.c_str(), l.threads, l.shared_bytes);
        separator = ",";
    }
    std::printf("}}\n");
}

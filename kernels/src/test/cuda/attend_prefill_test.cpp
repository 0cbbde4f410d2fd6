#include "attend_plan.cu"
#include "attend_prefill.cu"
#include "paged.h"

using test::AttentionCase;
using test::Buffer;

LAUNCH_SHAPE(mr_paged_prefill_16, prefill_threads, PrefillTile<16>::shared_bytes);
LAUNCH_SHAPE(mr_paged_prefill_32, prefill_threads, PrefillTile<32>::shared_bytes);
LAUNCH_SHAPE(mr_paged_prefill_64, prefill_threads, PrefillTile<64>::shared_bytes);
LAUNCH_SHAPE(mr_paged_prefill_96, prefill_threads, PrefillTile<96>::shared_bytes);
LAUNCH_SHAPE(mr_paged_prefill_128, prefill_threads, PrefillTile<128>::shared_bytes);
LAUNCH_SHAPE(mr_paged_prefill_256, prefill_threads, PrefillTile<256>::shared_bytes);

namespace {

using PrefillKernel = void (*)(const mr_paged_prefill_params);

struct Prefill {
    PrefillKernel kernel;
    size_t shared_bytes;
};

Prefill prefill_of(int head_dim) {
    switch (head_dim) {
        case 16: return {mr_paged_prefill_16, PrefillTile<16>::shared_bytes};
        case 32: return {mr_paged_prefill_32, PrefillTile<32>::shared_bytes};
        case 64: return {mr_paged_prefill_64, PrefillTile<64>::shared_bytes};
        case 96: return {mr_paged_prefill_96, PrefillTile<96>::shared_bytes};
        case 128: return {mr_paged_prefill_128, PrefillTile<128>::shared_bytes};
        default: return {mr_paged_prefill_256, PrefillTile<256>::shared_bytes};
    }
}

// Sequences with one query token are decode's: their rows must stay as they are. Queries are those of absolute positions, so that chunks of one
// prompt have the same. After a fault of the step all rows must. Returns the rows of the last sequence.
std::vector<bf16> prefill_case(const AttentionCase &a, const std::vector<int> &queries, const std::vector<int> &contexts, unsigned grid,
                               int fault_code = 0) {
    test::RaggedBatch batch(queries, contexts, 3);
    int heads = a.num_kv_heads * a.group;
    int cols = heads * a.head_dim;
    int out_cols = (heads * a.out_dim() + 7) / 8 * 8;
    test::PagedCache cache(batch.num_blocks, a.num_kv_heads, a.head_dim);
    test::Random random(5);
    test::fill(cache, batch, random);
    int q_stride = cols + 8;
    Buffer<bf16> q(batch.num_tokens * q_stride), out(batch.num_tokens * out_cols), by_position(batch.max_blocks * MR_CUDA_PAGE * cols);
    test::Random(6).fill(by_position, (a.soft_cap > 0 ? 1 : 1.4427f) * 1.5f / std::sqrt(static_cast<float>(a.head_dim)));
    for (int t = 0; t < batch.num_tokens; t++) {
        std::memcpy(&q[t * q_stride], &by_position[batch.positions[t] * cols], cols * sizeof(bf16));
    }
    Buffer<float> sinks(heads);
    random.fill(sinks, 2);
    Buffer<mr_decode_item> items(256);
    Buffer<mr_prefill_tile> tiles(256);
    Buffer<int32_t> counts(2);
    emu::run(test::launch_of(dim3(1), dim3(plan_threads), 64), mr_attention_plan,
             mr_attention_plan_params{batch.query_start, batch.context_len, items, tiles, counts, &batch.counts[1], a.group, a.window, 4, 8});
    Buffer<mr_cuda_fault> fault(1);
    fault[0] = {};
    fault[0].code = fault_code;
    if (fault_code != 0) {
        batch.tables.fill(-1);
    }
    Prefill prefill = prefill_of(a.head_dim);
    mr_paged_prefill_params p{q, cache.data, batch.tables, batch.query_start, batch.context_len, tiles, &counts[1],
                              a.sinks ? sinks.data() : nullptr, out, fault, a.num_kv_heads, a.group, batch.max_blocks, q_stride, a.window, a.soft_cap, a.out_dim(), out_cols};
    emu::run(test::launch_of(dim3(grid), dim3(prefill_threads), prefill.shared_bytes), prefill.kernel, p);
    test::Error error;
    for (int t = 0; t < batch.num_tokens; t++) {
        for (int h = 0; h < heads; h++) {
            if (queries[batch.token_sequence[t]] == 1 || fault_code != 0) {
                CHECK(out[t * out_cols].bits == 0xffff);
                continue;
            }
            std::vector<double> wanted = test::attend(a, cache, batch, q + t * q_stride + h * a.head_dim, t, h, a.sinks ? sinks.data() : nullptr);
            for (int d = 0; d < a.out_dim(); d++) {
                error.add(to_float(out[t * out_cols + h * a.out_dim() + d]), wanted[d]);
            }
        }
    }
    if (fault_code == 0) {
        CHECK_ERROR(error, 5e-3);
    }
    return {out.data() + (batch.num_tokens - queries.back()) * out_cols, out.data() + out.size()};
}

}  // namespace

// Property: whole prompts and chunks behind a context, off every tile's edge, beside single tokens that are not touched.
KERNEL_TEST(prefill_attends_at_all_edges) {
    prefill_case({2, 2, 64}, {2, 1, 17, 33, 1, 3}, {2, 40, 17, 90, 1, 131}, 4);
    prefill_case({1, 1, 64}, {63, 64, 65}, {63, 64, 200}, 2);
}

// Property: after a fault of the step nothing is read by way of a table that may be wrong, and nothing written.
KERNEL_TEST(prefill_does_nothing_after_a_fault) { prefill_case({2, 2, 64}, {2, 17, 33}, {40, 17, 90}, 4, MR_CUDA_FAULT_POSITION); }

// Property: all group sizes, with rows of several tokens and heads in one tile, and all head sizes.
KERNEL_TEST(prefill_serves_all_groups) {
    for (int group : {4, 5, 7, 8, 12}) {
        prefill_case({1, group, 64}, {9, 14}, {9, 70}, 3);
    }
}

KERNEL_TEST(prefill_serves_all_head_sizes) {
    prefill_case({2, 3, 16}, {30}, {100}, 3);
    prefill_case({1, 3, 32}, {30}, {100}, 3);
    prefill_case({1, 3, 96}, {30}, {100}, 3);
    prefill_case({1, 3, 128}, {30}, {100}, 3);
    prefill_case({1, 3, 256}, {30}, {100}, 3);
}

// Property: sliding windows (inside a tile, over several, longer than the context), soft caps and sinks, alone and together.
KERNEL_TEST(prefill_knows_windows_caps_and_sinks) {
    for (int window : {1, 20, 64, 1000}) {
        prefill_case({1, 2, 64, window}, {40}, {170}, 2);
    }
    prefill_case({1, 2, 64, 0, 3.0f}, {20}, {100}, 2);
    prefill_case({1, 2, 64, 0, 0, true}, {20}, {100}, 2);
    prefill_case({1, 2, 64, 50, 3.0f, true}, {20}, {100}, 2);
}

// Property: heads that only fill up the kernel's own width come out as narrow as they are, and nothing is written beside them.
KERNEL_TEST(prefill_takes_narrow_heads) {
    for (int width : {8, 10, 16}) {
        AttentionCase a{2, 3, 16};
        a.width = width;
        prefill_case(a, {30}, {70}, 3);
    }
    AttentionCase a{1, 2, 96};
    a.width = 80;
    prefill_case(a, {30}, {70}, 3);
}

// Property: a token's bits do not depend on the chunk that it came in, with a window or without, nor on its company.
TEST(prefill_is_chunk_invariant) {
    test::order = emu::Order::random;
    for (int window : {0, 37}) {
        AttentionCase a{1, 3, 64, window};
        std::vector<bf16> whole = prefill_case(a, {150}, {150}, 2);
        for (int chunk : {2, 29, 100}) {
            std::vector<bf16> last = prefill_case(a, {chunk}, {150}, 3);
            CHECK(std::memcmp(last.data(), whole.data() + whole.size() - last.size(), last.size() * sizeof(bf16)) == 0);
        }
    }
}

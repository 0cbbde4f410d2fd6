#include "attend_decode.cu"
#include "attend_plan.cu"
#include "paged.h"

using test::AttentionCase;
using test::Buffer;

LAUNCH_SHAPE(mr_attention_plan, plan_threads, 64);
LAUNCH_SHAPE(mr_paged_decode_16, decode_threads, DecodeRing<16>::shared_bytes);
LAUNCH_SHAPE(mr_paged_decode_32, decode_threads, DecodeRing<32>::shared_bytes);
LAUNCH_SHAPE(mr_paged_decode_64, decode_threads, DecodeRing<64>::shared_bytes);
LAUNCH_SHAPE(mr_paged_decode_96, decode_threads, DecodeRing<96>::shared_bytes);
LAUNCH_SHAPE(mr_paged_decode_128, decode_threads, DecodeRing<128>::shared_bytes);
LAUNCH_SHAPE(mr_paged_decode_256, decode_threads, DecodeRing<256>::shared_bytes);

namespace {

struct Plan {
    Buffer<mr_decode_item> items;
    Buffer<mr_prefill_tile> tiles;
    Buffer<int32_t> counts;

    Plan(test::RaggedBatch &batch, const AttentionCase &a, int min_pages, int max_splits) : items(4096), tiles(4096), counts(2) {
        mr_attention_plan_params p{batch.query_start, batch.context_len, items, tiles, counts, &batch.counts[1], a.group, a.window, min_pages,
                                   max_splits};
        emu::run(test::launch_of(dim3(1), dim3(plan_threads), 64), mr_attention_plan, p);
    }
};

using DecodeKernel = void (*)(const mr_paged_decode_params);

struct Decode {
    DecodeKernel kernel;
    size_t shared_bytes;
};

Decode decode_of(int head_dim) {
    switch (head_dim) {
        case 16: return {mr_paged_decode_16, DecodeRing<16>::shared_bytes};
        case 32: return {mr_paged_decode_32, DecodeRing<32>::shared_bytes};
        case 64: return {mr_paged_decode_64, DecodeRing<64>::shared_bytes};
        case 96: return {mr_paged_decode_96, DecodeRing<96>::shared_bytes};
        case 128: return {mr_paged_decode_128, DecodeRing<128>::shared_bytes};
        default: return {mr_paged_decode_256, DecodeRing<256>::shared_bytes};
    }
}

std::vector<bf16> decode_case(const AttentionCase &a, const std::vector<int> &contexts, int min_pages, int max_splits, unsigned grid,
                              bool check = true, uint32_t seed = 11, int fault_code = 0) {
    test::RaggedBatch batch(std::vector<int>(contexts.size(), 1), contexts, seed);
    int heads = a.num_kv_heads * a.group;
    int tokens = batch.num_tokens;
    int head_tiles = (a.group + MR_CUDA_HEAD_TILE - 1) / MR_CUDA_HEAD_TILE;
    test::PagedCache cache(batch.num_blocks, a.num_kv_heads, a.head_dim);
    test::Random random(5);
    test::fill(cache, batch, random);
    int q_stride = heads * a.head_dim + 16;
    int out_stride = (heads * a.out_dim() + 7) / 8 * 8;
    Buffer<bf16> q(tokens * q_stride), out(tokens * out_stride);
    test::Random(6).fill(q, (a.soft_cap > 0 ? 1 : 1.4427f) * 1.5f / std::sqrt(static_cast<float>(a.head_dim)));
    Buffer<float> sinks(heads);
    random.fill(sinks, 2);
    Plan plan(batch, a, min_pages, max_splits);
    int items = plan.counts[0];
    CHECK(plan.counts[1] == 0);
    Buffer<float> partial_out(static_cast<size_t>(items) * heads * a.head_dim), partial_softmax(items * heads * 2);
    Buffer<int32_t> arrivals(tokens * a.num_kv_heads * head_tiles);
    arrivals.fill(0);
    Buffer<mr_cuda_fault> fault(1);
    fault[0] = {};
    fault[0].code = fault_code;
    if (fault_code != 0) {
        batch.tables.fill(-1);
    }
    Decode decode = decode_of(a.head_dim);
    mr_paged_decode_params p{q, cache.data, batch.tables, batch.positions, plan.items, &plan.counts[0], a.sinks ? sinks.data() : nullptr, out,
                             partial_out, partial_softmax, arrivals, fault, a.num_kv_heads, a.group, batch.max_blocks, q_stride, a.window, a.soft_cap, a.out_dim(), out_stride};
    emu::run(test::launch_of(dim3(grid), dim3(decode_threads), decode.shared_bytes, 2), decode.kernel, p);
    for (int32_t left : std::vector<int32_t>(arrivals.data(), arrivals.data() + arrivals.size())) {
        CHECK(left == 0);
    }
    test::Error error;
    for (int t = 0; t < tokens && check; t++) {
        for (int h = 0; h < heads; h++) {
            std::vector<double> wanted = test::attend(a, cache, batch, q + t * q_stride + h * a.head_dim, t, h, a.sinks ? sinks.data() : nullptr);
            for (int d = 0; d < a.out_dim(); d++) {
                error.add(to_float(out[t * out_stride + h * a.out_dim() + d]), wanted[d]);
            }
        }
    }
    if (check) {
        CHECK_ERROR(error, 5e-3);
    }
    return std::vector<bf16>(out.data(), out.data() + out.size());
}

}  // namespace

// Property: attention within 5e-3 of double precision at every context length around page, ring and split edges. Slots beyond a context are NaN.
KERNEL_TEST(decode_attends_at_all_edges) {
    decode_case({1, 4, 128}, {1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130, 200, 257, 300}, 4, 4, 5);
}

// Property: after a fault of the step nothing is read by way of a table that may be wrong, and nothing written.
KERNEL_TEST(decode_does_nothing_after_a_fault) {
    for (bf16 x : decode_case({1, 4, 64}, {40, 300}, 4, 8, 4, false, 11, MR_CUDA_FAULT_BLOCK)) {
        CHECK(x.bits == 0xffff);
    }
}

// Property: all group sizes, also those beyond a tile of 8 heads, and all head sizes.
KERNEL_TEST(decode_serves_all_groups) {
    for (int group : {1, 2, 5, 7, 8, 12}) {
        decode_case({2, group, 64}, {1, 50, 129}, 4, 8, 3);
    }
}

KERNEL_TEST(decode_serves_all_head_sizes) {
    decode_case({2, 2, 16}, {1, 70, 300}, 4, 8, 4);
    decode_case({2, 2, 32}, {1, 70, 300}, 4, 8, 4);
    decode_case({2, 2, 64}, {1, 70, 300}, 4, 8, 4);
    decode_case({2, 2, 96}, {1, 70, 300}, 4, 8, 4);
    decode_case({1, 4, 128}, {1, 70, 400}, 4, 8, 4);
    decode_case({1, 2, 256}, {1, 70, 200}, 4, 8, 4);
}

// Property: heads that only fill up the kernel's own width come out as narrow as they are, in one split and in several.
KERNEL_TEST(decode_takes_narrow_heads) {
    for (int width : {8, 10, 16}) {
        AttentionCase a{2, 3, 16};
        a.width = width;
        decode_case(a, {1, 40, 200}, 4, 8, 3);
    }
    AttentionCase a{1, 2, 96};
    a.width = 80;
    decode_case(a, {1, 200}, 4, 8, 3);
}

// Property: sliding windows (inside a page, across splits, longer than the context), soft caps and sinks, alone and together.
KERNEL_TEST(decode_knows_windows_caps_and_sinks) {
    for (int window : {1, 16, 17, 100, 1000}) {
        decode_case({1, 4, 64, window}, {1, 15, 100, 117, 200}, 2, 4, 4);
    }
    decode_case({1, 4, 64, 0, 3.0f}, {1, 100, 200}, 4, 4, 4);
    decode_case({1, 4, 64, 0, 0, true}, {1, 100, 200}, 4, 4, 4);
    decode_case({1, 4, 64, 50, 3.0f, true}, {1, 100, 200}, 2, 4, 4);
}

// Property: a context long enough to go round every warp's ring several times, in one split and in many.
KERNEL_TEST(decode_goes_round_its_rings) {
    decode_case({1, 8, 128}, {1100}, 128, 1, 1);
    decode_case({1, 8, 128}, {1100}, 8, 128, 7);
}

// Property: a sequence's bits depend neither on its company nor on the grid.
TEST(decode_is_batch_invariant) {
    AttentionCase a{2, 4, 64};
    test::order = emu::Order::random;
    std::vector<bf16> together = decode_case(a, {200, 33, 77, 129}, 2, 4, 3, false);
    std::vector<bf16> again = decode_case(a, {200, 33, 77, 129}, 2, 4, 64, false);
    CHECK(std::memcmp(together.data(), again.data(), together.size() * sizeof(bf16)) == 0);
    std::vector<bf16> alone = decode_case(a, {200}, 2, 4, 1, false);
    CHECK(alone.size() == together.size() / 4);
    // Alone it has the same queries and the same cached values: both are drawn in order.
    CHECK(std::memcmp(together.data(), alone.data(), 8 * 64 * sizeof(bf16)) == 0);
}

// Property: the plan covers each sequence's visible pages once and in order, splits by its own length alone, and lists chunks as tiles.
KERNEL_TEST(plan_covers_every_page_once) {
    std::vector<int> queries, contexts;
    test::Random random(9);
    for (int s = 0; s < 300; s++) {
        queries.push_back(s % 7 == 3 ? 2 + random.below(90) : 1);
        contexts.push_back(queries.back() + random.below(s % 11 == 0 ? 3000 : 200));
    }
    test::RaggedBatch batch(queries, contexts, 1);
    for (int window : {0, 100}) {
        AttentionCase a{2, 3, 64, window};
        Plan plan(batch, a, 4, 8);
        int item = 0;
        int tile = 0;
        for (int s = 0; s < 300; s++) {
            if (queries[s] == 1) {
                int page = window > 0 && contexts[s] > window ? (contexts[s] - window) / 16 : 0;
                int first = item;
                int splits = plan.items[item].num_splits;
                CHECK(splits >= 1 && splits <= 8);
                for (int i = 0; i < splits; i++, item++) {
                    const mr_decode_item &it = plan.items[item];
                    CHECK(it.sequence == s && it.token == batch.query_start[s] && it.split == i && it.num_splits == splits);
                    CHECK(it.first_item == first && it.first_page == page && it.end_page > page);
                    page = it.end_page;
                }
                CHECK(page == (contexts[s] + 15) / 16);
            } else {
                for (int row = 0; row < queries[s] * a.group; row += MR_CUDA_QUERY_TILE, tile++) {
                    CHECK(plan.tiles[tile].sequence == s && plan.tiles[tile].first_row == row);
                }
            }
        }
        CHECK(plan.counts[0] == item && plan.counts[1] == tile);
    }
}

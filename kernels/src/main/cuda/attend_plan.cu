// Work lists for the attention kernels, made on the device so that a captured graph serves every step.
#include "common.h"

constexpr int plan_threads = 256;

namespace {

// Exclusive sum over the block of two counts at once; `total` is that of all. `scratch` has two ints per warp.
struct Counts {
    int items;
    int tiles;
};

TILE Counts block_scan(Counts mine, Counts *total, smem<int> scratch) {
    Counts sum = mine;
    for (int step = 1; step < 32; step *= 2) {
        int items = shuffle_up(sum.items, step);
        int tiles = shuffle_up(sum.tiles, step);
        if (lane_id() >= step) {
            sum.items += items;
            sum.tiles += tiles;
        }
    }
    int warp = static_cast<int>(threadIdx.x / 32);
    if (lane_id() == 31) {
        scratch[2 * warp] = sum.items;
        scratch[2 * warp + 1] = sum.tiles;
    }
    sync_block();
    Counts before{0, 0};
    *total = {0, 0};
    for (int w = 0; w < plan_threads / 32; w++) {
        int items = scratch[2 * w];
        int tiles = scratch[2 * w + 1];
        if (w < warp) {
            before.items += items;
            before.tiles += tiles;
        }
        total->items += items;
        total->tiles += tiles;
    }
    sync_block();
    return {before.items + sum.items - mine.items, before.tiles + sum.tiles - mine.tiles};
}

}  // namespace

// Dynamic shared memory: 64 bytes.
KERNEL(plan_threads, 1) mr_attention_plan(PARAMS(mr_attention_plan_params) p) {
    SHARED_MEMORY(memory);
    smem<int> scratch = shared_at<int>(memory, 0);
    pdl_wait();
    pdl_trigger();
    int sequences = *p.sequences;
    Counts done{0, 0};
    for (int first = 0; first < sequences; first += plan_threads) {
        int s = first + static_cast<int>(threadIdx.x);
        Counts mine{0, 0};
        int token = 0;
        int first_page = 0;
        int end_page = 0;
        int pages_per_split = 1;
        if (s < sequences) {
            token = p.query_start[s];
            int queries = p.query_start[s + 1] - token;
            int context = p.context_len[s];
            if (queries == 1) {
                end_page = (context + MR_CUDA_PAGE - 1) / MR_CUDA_PAGE;
                first_page = p.sliding_window > 0 && context > p.sliding_window ? (context - p.sliding_window) / MR_CUDA_PAGE : 0;
                int pages = end_page - first_page;
                pages_per_split = p.min_split_pages;
                while ((pages + pages_per_split - 1) / pages_per_split > p.max_splits) {
                    pages_per_split *= 2;
                }
                mine.items = (pages + pages_per_split - 1) / pages_per_split;
            } else if (queries > 1) {
                mine.tiles = (queries * p.group + MR_CUDA_QUERY_TILE - 1) / MR_CUDA_QUERY_TILE;
            }
        }
        Counts total;
        Counts at = block_scan(mine, &total, scratch);
        at.items += done.items;
        at.tiles += done.tiles;
        for (int i = 0; i < mine.items; i++) {
            int from = first_page + i * pages_per_split;
            p.decode_items[at.items + i] = {token, s, from, min(end_page, from + pages_per_split), i, mine.items, at.items, 0};
        }
        for (int i = 0; i < mine.tiles; i++) {
            p.prefill_tiles[at.tiles + i] = {s, i * MR_CUDA_QUERY_TILE};
        }
        done.items += total.items;
        done.tiles += total.tiles;
    }
    if (threadIdx.x == 0) {
        p.plan_counts[0] = done.items;
        p.plan_counts[1] = done.tiles;
    }
}

// Attention of single query tokens against the paged cache: split along the context, online softmax (arXiv 1805.02867), grouped queries.
//
// The 16 tokens of a page are the M side of m16n8k16, up to 8 query heads of a KV head the N side, so the cache is read once per group:
//
//     S^T[16 tokens x 8 heads] = K[16 x D] * Q^T        A by ldmatrix, B in registers for the whole work item
//     O^T[D x 8 heads]        += V^T[D x 16] * P^T       A by ldmatrix.trans, B by transposing S^T in registers
//
// Each of the four warps has a ring of pages of its own and takes every fourth page: no barrier in the loop. The warps' results are merged
// once, those of the splits by the last of them to arrive; both in a fixed order, so the bits do not depend on timing, nor on the batch.
#include "common.h"

namespace {

constexpr int decode_warps = 4;
constexpr int decode_threads = 32 * decode_warps;

template <int head_dim>
struct DecodeRing {
    static constexpr int stages = head_dim <= 64 ? 4 : head_dim <= 128 ? 3 : 2;
    static constexpr int page = 2 * MR_CUDA_PAGE * head_dim;  // elements: keys, then values
    static constexpr int shared_bytes = decode_warps * stages * page * 2;
};

// What the warps leave for their merge, over the rings: out[warp][head][dim], maximum[warp][head], sum[warp][head].
template <int head_dim>
struct WarpResults {
    static constexpr int maximum = decode_warps * MR_CUDA_HEAD_TILE * head_dim;
    static constexpr int sum = maximum + decode_warps * MR_CUDA_HEAD_TILE;
    static constexpr int end = sum + decode_warps * MR_CUDA_HEAD_TILE;
    static_assert(end * 4 <= DecodeRing<head_dim>::shared_bytes, "the merge fits over the rings");
    static_assert((2 * MR_CUDA_HEAD_TILE * MR_CUDA_MAX_SPLITS + 1) * 4 <= DecodeRing<head_dim>::shared_bytes, "so does that of the splits");
};

// Factor that turns sums relative to their own maximum into those relative to the common one.
TILE float rescale(float maximum, float common) { return maximum == minus_infinity ? 0 : exp2_fast(maximum - common); }

// Two neighbouring elements of a head, unless they only fill it up.
TILE void store_out(const mr_paged_decode_params &p, int token, int head, int d, uint32_t pair) {
    if (d < p.head_dim) {
        store4(p.out + static_cast<int64_t>(token) * p.out_stride + head * p.head_dim + d, pair);
    }
}

// The splits of one (token, head tile), by the whole block; `weights` is [heads][2][splits].
template <int head_dim>
TILE void merge_splits(const mr_paged_decode_params &p, const mr_decode_item &item, int first_head, int heads, smem<float> weights) {
    int splits = item.num_splits;
    int all_heads = p.num_kv_heads * p.group;
    for (int i = static_cast<int>(threadIdx.x); i < heads * splits; i += decode_threads) {
        int64_t at = (static_cast<int64_t>(item.first_item + i % splits) * all_heads + first_head + i / splits) * 2;
        weights[i / splits * 2 * splits + i % splits] = load_l2(p.partial_softmax + at);
        weights[(i / splits * 2 + 1) * splits + i % splits] = load_l2(p.partial_softmax + at + 1);
    }
    sync_block();
    for (int i = static_cast<int>(threadIdx.x); i < heads * head_dim / 2; i += decode_threads) {
        int head = i / (head_dim / 2);
        int d = i % (head_dim / 2) * 2;
        smem<float> maxima = weights + head * 2 * splits;
        float sink = p.sinks == nullptr ? minus_infinity : p.sinks[first_head + head] * log2_e;
        float common = sink;
        for (int s = 0; s < splits; s++) {
            common = fmaxf(common, maxima[s]);
        }
        float sum = rescale(sink, common);
        float x = 0;
        float y = 0;
        for (int s = 0; s < splits; s++) {
            float factor = rescale(maxima[s], common);
            const float *from = p.partial_out + (static_cast<int64_t>(item.first_item + s) * all_heads + first_head + head) * head_dim + d;
            sum += maxima[splits + s] * factor;
            x += load_l2(from) * factor;
            y += load_l2(from + 1) * factor;
        }
        store_out(p, item.token, first_head + head, d, pack_bf16(x / sum, y / sum));
    }
}

template <int head_dim>
TILE void decode_item(const mr_paged_decode_params &p, const mr_decode_item &item, int kv_head, int first_head, int heads, int arrival,
                      smem<bf16> rings, smem<float> results, smem<int> last) {
    using Ring = DecodeRing<head_dim>;
    constexpr int steps = head_dim / 16;
    int lane = lane_id();
    int warp = static_cast<int>(threadIdx.x / 32);
    int g = lane / 4;
    int t = lane % 4;
    int all_heads = p.num_kv_heads * p.group;
    int context_end = p.positions[item.token] + 1;
    int context_begin = p.sliding_window > 0 && context_end > p.sliding_window ? context_end - p.sliding_window : 0;
    smem<bf16> ring = rings + warp * Ring::stages * Ring::page;
    const int32_t *table = p.block_tables + static_cast<int64_t>(item.sequence) * p.max_blocks;

    auto issue = [&](int page, int stage) {
        if (page < item.end_page) {
            const bf16 *from = p.kv + (static_cast<int64_t>(table[page]) * p.num_kv_heads + kv_head) * Ring::page;
            smem<bf16> to = ring + stage * Ring::page;
#pragma unroll
            for (int i = 0; i < Ring::page / 8 / 32; i++) {
                int chunk = i * 32 + lane;
                // What lies beyond the context is another sequence's leftover: a NaN there would survive its weight of zero.
                int token = page * MR_CUDA_PAGE + chunk / (head_dim / 8) % MR_CUDA_PAGE;
                cp_async16_or_zero(to + chunk * 8, from + chunk * 8, token >= context_begin && token < context_end);
            }
        }
        cp_async_commit();
    };
    for (int s = 0; s < Ring::stages - 1; s++) {
        issue(item.first_page + warp + s * decode_warps, s);
    }

    uint32_t query[steps][2];
    const bf16 *q = p.q + static_cast<int64_t>(item.token) * p.q_stride + (first_head + g) * head_dim;
#pragma unroll
    for (int k = 0; k < steps; k++) {
        query[k][0] = g < heads ? load4(q + k * 16 + 2 * t) : 0;
        query[k][1] = g < heads ? load4(q + k * 16 + 2 * t + 8) : 0;
    }
    float out[steps][4];
#pragma unroll
    for (int i = 0; i < steps; i++) {
        out[i][0] = out[i][1] = out[i][2] = out[i][3] = 0;
    }
    float maximum[2] = {minus_infinity, minus_infinity};  // of heads 2t and 2t + 1
    float sum[2] = {0, 0};                                // of this lane's tokens

    int stage = 0;
    for (int page = item.first_page + warp; page < item.end_page; page += decode_warps) {
        issue(page + (Ring::stages - 1) * decode_warps, (stage + Ring::stages - 1) % Ring::stages);
        cp_async_wait<Ring::stages - 1>();
        sync_warp();
        smem<const bf16> keys = ring + stage * Ring::page;
        smem<const bf16> values = keys + MR_CUDA_PAGE * head_dim;

        float score[4] = {0, 0, 0, 0};  // tokens g, g + 8; heads 2t, 2t + 1
#pragma unroll
        for (int k = 0; k < steps; k++) {
            uint32_t a[4];
            int row = lane % 16;
            ldsm4(a, keys + row * head_dim + kv_chunk<head_dim>(2 * k + lane / 16, row) * 8);
            mma_16816(score, a, query[k][0], query[k][1]);
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int token = page * MR_CUDA_PAGE + g + i / 2 * 8;
            float s = p.soft_cap > 0 ? soft_capped(score[i], p.soft_cap) * log2_e : score[i];
            score[i] = token >= context_begin && token < context_end ? s : minus_infinity;
        }
        float shrink[2];
#pragma unroll
        for (int j = 0; j < 2; j++) {
            float top = fmaxf(score[j], score[j + 2]);
            top = fmaxf(top, shuffle_xor(top, 4));
            top = fmaxf(top, shuffle_xor(top, 8));
            top = fmaxf(top, shuffle_xor(top, 16));
            top = fmaxf(maximum[j], top);  // a page of a work item has at least one token that is seen
            shrink[j] = exp2_fast(maximum[j] - top);
            maximum[j] = top;
            score[j] = exp2_fast(score[j] - top);
            score[j + 2] = exp2_fast(score[j + 2] - top);
            sum[j] = sum[j] * shrink[j] + score[j] + score[j + 2];
        }
        uint32_t weights0 = transpose8(pack_bf16(score[0], score[1]));
        uint32_t weights1 = transpose8(pack_bf16(score[2], score[3]));
#pragma unroll
        for (int i = 0; i < steps; i++) {
            out[i][0] *= shrink[0];
            out[i][1] *= shrink[1];
            out[i][2] *= shrink[0];
            out[i][3] *= shrink[1];
            uint32_t a[4];
            int row = lane % 8 + lane / 16 * 8;
            ldsm4_transposed(a, values + row * head_dim + kv_chunk<head_dim>(2 * i + lane / 8 % 2, row) * 8);
            mma_16816(out[i], a, weights0, weights1);
        }
        sync_warp();
        stage = (stage + 1) % Ring::stages;
    }
    cp_async_wait<0>();
#pragma unroll
    for (int j = 0; j < 2; j++) {
        sum[j] += shuffle_xor(sum[j], 4);
        sum[j] += shuffle_xor(sum[j], 8);
        sum[j] += shuffle_xor(sum[j], 16);
    }
    sync_block();

    using Results = WarpResults<head_dim>;
#pragma unroll
    for (int i = 0; i < steps; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            results[(warp * MR_CUDA_HEAD_TILE + 2 * t + j % 2) * head_dim + i * 16 + g + j / 2 * 8] = out[i][j];
        }
    }
    if (g == 0) {
#pragma unroll
        for (int j = 0; j < 2; j++) {
            results[Results::maximum + warp * MR_CUDA_HEAD_TILE + 2 * t + j] = maximum[j];
            results[Results::sum + warp * MR_CUDA_HEAD_TILE + 2 * t + j] = sum[j];
        }
    }
    sync_block();
    bool whole = item.num_splits == 1;
    int64_t item_index = item.first_item + item.split;
    for (int i = static_cast<int>(threadIdx.x); i < heads * head_dim / 2; i += decode_threads) {
        int head = i / (head_dim / 2);
        int d = i % (head_dim / 2) * 2;
        float sink = whole && p.sinks != nullptr ? p.sinks[first_head + head] * log2_e : minus_infinity;
        float common = sink;
#pragma unroll
        for (int w = 0; w < decode_warps; w++) {
            common = fmaxf(common, results[Results::maximum + w * MR_CUDA_HEAD_TILE + head]);
        }
        float total = rescale(sink, common);
        float x = 0;
        float y = 0;
#pragma unroll
        for (int w = 0; w < decode_warps; w++) {
            float factor = rescale(results[Results::maximum + w * MR_CUDA_HEAD_TILE + head], common);
            total += results[Results::sum + w * MR_CUDA_HEAD_TILE + head] * factor;
            x += results[(w * MR_CUDA_HEAD_TILE + head) * head_dim + d] * factor;
            y += results[(w * MR_CUDA_HEAD_TILE + head) * head_dim + d + 1] * factor;
        }
        if (whole) {
            store_out(p, item.token, first_head + head, d, pack_bf16(x / total, y / total));
        } else {
            float *to = p.partial_out + (item_index * all_heads + first_head + head) * head_dim + d;
            to[0] = x;
            to[1] = y;
            if (d == 0) {
                p.partial_softmax[(item_index * all_heads + first_head + head) * 2] = common;
                p.partial_softmax[(item_index * all_heads + first_head + head) * 2 + 1] = total;
            }
        }
    }
    sync_block();
    if (whole) {
        return;
    }
    // Every thread's partial results are out before this block counts as arrived.
    fence();
    sync_block();
    if (threadIdx.x == 0) {
        int before = atomic_add(p.arrivals + arrival, 1);
        last[0] = before == item.num_splits - 1;
        if (before == item.num_splits - 1) {
            p.arrivals[arrival] = 0;
        }
    }
    sync_block();
    if (last[0]) {
        fence();
        merge_splits<head_dim>(p, item, first_head, heads, results + 1);
    }
    sync_block();
}

template <int head_dim>
TILE void paged_decode(const mr_paged_decode_params &p, smem<bf16> rings, smem<float> results, smem<int> last) {
    pdl_wait();
    pdl_trigger();
    if (p.fault->code != 0) {
        return;  // of every block: this kernel reports none itself
    }
    int tiles = (p.group + MR_CUDA_HEAD_TILE - 1) / MR_CUDA_HEAD_TILE;
    int per_item = p.num_kv_heads * tiles;
    int end = *p.num_items * per_item;
    for (int work = static_cast<int>(blockIdx.x); work < end; work += static_cast<int>(gridDim.x)) {
        mr_decode_item item = p.items[work / per_item];
        int kv_head = work % per_item / tiles;
        int tile = work % tiles;
        int heads = min(int{MR_CUDA_HEAD_TILE}, p.group - tile * MR_CUDA_HEAD_TILE);
        decode_item<head_dim>(p, item, kv_head, kv_head * p.group + tile * MR_CUDA_HEAD_TILE, heads, item.token * per_item + work % per_item,
                              rings, results, last);
    }
}

}  // namespace

// The number is head_dim. Dynamic shared memory: decode_warps * stages * 64 * head_dim bytes.
#define PAGED_DECODE(head_dim, blocks)                                                                          \
    KERNEL(decode_threads, blocks) mr_paged_decode_##head_dim(PARAMS(mr_paged_decode_params) p) {               \
        SHARED_MEMORY(memory);                                                                                  \
        paged_decode<head_dim>(p, shared_at<bf16>(memory, 0), shared_at<float>(memory, 0), shared_at<int>(memory, 0)); \
    }
PAGED_DECODE(16, 3)
PAGED_DECODE(32, 3)
PAGED_DECODE(64, 3)
PAGED_DECODE(96, 2)
PAGED_DECODE(128, 2)
PAGED_DECODE(256, 1)

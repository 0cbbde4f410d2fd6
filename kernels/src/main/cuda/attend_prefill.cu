// Causal attention of several query tokens of a sequence against the paged cache: chunks of prompts, ragged (FlashAttention-2, arXiv
// 2307.08691, on mma.sync).
//
// A work item is 64 rows of one KV head; a row is a (token, query head of the group), so that all heads of a group share the loads of keys and
// values. Each of the four warps has 16 rows. Keys and values come in tiles of pages at absolute positions, two tiles in shared memory at a
// time, and a row goes through its tiles in order of position: tiles that it does not see leave it as it is, bit for bit, so its result does
// not depend on how the prompt was cut into chunks (of two tokens and more; single tokens are decode's).
//
//     S[16 rows x 8 tokens] = Q[16 x D] * K^T       A and B by ldmatrix
//     O[16 x 8 dims]       += P[16 x 16 tokens] * V  A from S in registers, B by ldmatrix.trans
#include "common.h"

constexpr int prefill_warps = 4;
constexpr int prefill_threads = 32 * prefill_warps;

template <int head_dim>
struct PrefillTile {
    static constexpr int tokens = head_dim <= 128 ? 64 : 32;  // of keys and values; wider heads leave fewer registers for scores
    static constexpr int pages = tokens / MR_CUDA_PAGE;
    static constexpr int query = MR_CUDA_QUERY_TILE * head_dim;  // elements
    static constexpr int half_stage = tokens * head_dim;         // keys of a stage; its values follow
    static constexpr int shared_bytes = (query + 2 * 2 * half_stage) * 2;
};

namespace {

template <int head_dim>
TILE void prefill_tile(const mr_paged_prefill_params &p, mr_prefill_tile item, int kv_head, smem<bf16> query, smem<bf16> stages) {
    using Tile = PrefillTile<head_dim>;
    constexpr int chunks = head_dim / 8;
    constexpr int steps = head_dim / 16;
    constexpr int score_tiles = Tile::tokens / 8;
    int lane = lane_id();
    int warp = static_cast<int>(threadIdx.x / 32);
    int g = lane / 4;
    int t = lane % 4;
    int first_token = p.query_start[item.sequence];
    int rows = (p.query_start[item.sequence + 1] - first_token) * p.group;  // of this KV head
    int first_position = p.context_len[item.sequence] - rows / p.group;
    const int32_t *table = p.block_tables + static_cast<int64_t>(item.sequence) * p.max_blocks;

    // What the 64 rows see together: [begin, end).
    int last_row = min(item.first_row + int{MR_CUDA_QUERY_TILE}, rows) - 1;
    int end = first_position + last_row / p.group + 1;
    int first_end = first_position + item.first_row / p.group + 1;
    int begin = p.sliding_window > 0 && first_end > p.sliding_window ? first_end - p.sliding_window : 0;
    int tile = begin / Tile::tokens;
    int end_tile = (end + Tile::tokens - 1) / Tile::tokens;

    for (int i = static_cast<int>(threadIdx.x); i < MR_CUDA_QUERY_TILE * chunks; i += prefill_threads) {
        int r = i / chunks;
        int row = item.first_row + r;
        const bf16 *from = p.q + static_cast<int64_t>(first_token + min(row, rows - 1) / p.group) * p.q_stride
                + (kv_head * p.group + min(row, rows - 1) % p.group) * head_dim + i % chunks * 8;
        cp_async16_or_zero(query + r * head_dim + kv_chunk<head_dim>(i % chunks, r) * 8, from, row < rows);
    }
    auto issue = [&](int which, int stage) {
        if (which < end_tile) {
            smem<bf16> to = stages + stage * 2 * Tile::half_stage;
            for (int i = static_cast<int>(threadIdx.x); i < 2 * Tile::tokens * chunks; i += prefill_threads) {
                int page = i / (2 * MR_CUDA_PAGE * chunks);
                int inside = i % (2 * MR_CUDA_PAGE * chunks);  // keys of the page, then its values
                int token = which * Tile::tokens + page * MR_CUDA_PAGE + inside / chunks % MR_CUDA_PAGE;
                bool valid = token >= begin && token < end;  // beyond lies another sequence's leftover, which may be a NaN
                int block = valid ? table[which * Tile::pages + page] : 0;
                const bf16 *from = p.kv + (static_cast<int64_t>(block) * p.num_kv_heads + kv_head) * 2 * MR_CUDA_PAGE * head_dim + inside * 8;
                int half = inside / (MR_CUDA_PAGE * chunks);
                cp_async16_or_zero(to + half * Tile::half_stage + (page * MR_CUDA_PAGE * chunks + inside % (MR_CUDA_PAGE * chunks)) * 8, from, valid);
            }
        }
        cp_async_commit();
    };
    issue(tile, 0);  // the queries belong to this group as well

    float out[2 * steps][4];  // rows g, g + 8; dims 8i + 2t..
#pragma unroll
    for (int i = 0; i < 2 * steps; i++) {
        out[i][0] = out[i][1] = out[i][2] = out[i][3] = 0;
    }
    float maximum[2] = {minus_infinity, minus_infinity};
    float sum[2] = {0, 0};  // of this lane's columns
    int row_end[2];         // what rows g and g + 8 see
    int row_begin[2];
#pragma unroll
    for (int j = 0; j < 2; j++) {
        int row = item.first_row + warp * 16 + g + 8 * j;
        row_end[j] = row < rows ? first_position + row / p.group + 1 : 0;
        row_begin[j] = p.sliding_window > 0 ? row_end[j] - p.sliding_window : 0;
    }

    int stage = 0;
#pragma unroll 1
    for (; tile < end_tile; tile++) {
        issue(tile + 1, stage ^ 1);
        cp_async_wait<1>();
        sync_block();
        smem<const bf16> keys = stages + stage * 2 * Tile::half_stage;
        smem<const bf16> values = keys + Tile::half_stage;
        float score[score_tiles][4];
#pragma unroll
        for (int n = 0; n < score_tiles; n++) {
            score[n][0] = score[n][1] = score[n][2] = score[n][3] = 0;
        }
#pragma unroll
        for (int k = 0; k < steps; k++) {
            uint32_t a[4];
            int query_row = warp * 16 + lane % 16;
            ldsm4(a, query + query_row * head_dim + kv_chunk<head_dim>(2 * k + lane / 16, query_row) * 8);
#pragma unroll
            for (int n = 0; n < score_tiles / 2; n++) {
                uint32_t b[4];
                int row = n * 16 + lane % 8 + lane / 16 * 8;
                ldsm4(b, keys + row * head_dim + kv_chunk<head_dim>(2 * k + lane / 8 % 2, row) * 8);
                mma_16816(score[2 * n], a, b[0], b[1]);
                mma_16816(score[2 * n + 1], a, b[2], b[3]);
            }
        }
        float top[2] = {maximum[0], maximum[1]};
#pragma unroll
        for (int n = 0; n < score_tiles; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int token = tile * Tile::tokens + n * 8 + 2 * t + i % 2;
                float s = p.soft_cap > 0 ? soft_capped(score[n][i], p.soft_cap) * log2_e : score[n][i];
                score[n][i] = token >= row_begin[i / 2] && token < row_end[i / 2] ? s : minus_infinity;
                top[i / 2] = fmaxf(top[i / 2], score[n][i]);
            }
        }
        float shrink[2];
#pragma unroll
        for (int j = 0; j < 2; j++) {
            top[j] = fmaxf(top[j], shuffle_xor(top[j], 1));
            top[j] = fmaxf(top[j], shuffle_xor(top[j], 2));
            // A row that has seen nothing yet stays at zero: any finite number will do for its maximum.
            float base = top[j] == minus_infinity ? 0 : top[j];
            shrink[j] = exp2_fast(maximum[j] - base);
            maximum[j] = top[j];
            sum[j] *= shrink[j];
            top[j] = base;
        }
#pragma unroll
        for (int n = 0; n < score_tiles; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                score[n][i] = exp2_fast(score[n][i] - top[i / 2]);
                sum[i / 2] += score[n][i];
            }
        }
#pragma unroll
        for (int i = 0; i < 2 * steps; i++) {
            out[i][0] *= shrink[0];
            out[i][1] *= shrink[0];
            out[i][2] *= shrink[1];
            out[i][3] *= shrink[1];
        }
#pragma unroll
        for (int k = 0; k < score_tiles / 2; k++) {
            uint32_t a[4] = {pack_bf16(score[2 * k][0], score[2 * k][1]), pack_bf16(score[2 * k][2], score[2 * k][3]),
                             pack_bf16(score[2 * k + 1][0], score[2 * k + 1][1]), pack_bf16(score[2 * k + 1][2], score[2 * k + 1][3])};
#pragma unroll
            for (int i = 0; i < steps; i++) {
                uint32_t b[4];
                int row = k * 16 + lane % 16;
                ldsm4_transposed(b, values + row * head_dim + kv_chunk<head_dim>(2 * i + lane / 16, row) * 8);
                mma_16816(out[2 * i], a, b[0], b[1]);
                mma_16816(out[2 * i + 1], a, b[2], b[3]);
            }
        }
        sync_block();
        stage ^= 1;
    }
    cp_async_wait<0>();

#pragma unroll
    for (int j = 0; j < 2; j++) {
        sum[j] += shuffle_xor(sum[j], 1);
        sum[j] += shuffle_xor(sum[j], 2);
        int row = item.first_row + warp * 16 + g + 8 * j;
        if (row >= rows) {
            continue;
        }
        int head = kv_head * p.group + row % p.group;
        float factor = 1;
        if (p.sinks != nullptr) {
            float sink = p.sinks[head] * log2_e;
            float common = fmaxf(sink, maximum[j]);
            factor = exp2_fast(maximum[j] - common);
            sum[j] = sum[j] * factor + exp2_fast(sink - common);
        }
        bf16 *to = p.out + static_cast<int64_t>(first_token + row / p.group) * p.out_stride + head * p.head_dim + 2 * t;
        float scale = factor / sum[j];
#pragma unroll
        for (int i = 0; i < 2 * steps; i++) {
            // Heads of 256 have no register left for a comparison, and are that wide.
            if (head_dim == 256 || i * 8 + 2 * t < p.head_dim) {
                store4(to + i * 8, pack_bf16(out[i][2 * j] * scale, out[i][2 * j + 1] * scale));
            }
        }
    }
    sync_block();
}

template <int head_dim>
TILE void paged_prefill(const mr_paged_prefill_params &p, smem<bf16> query, smem<bf16> stages) {
    pdl_wait();
    pdl_trigger();
    if (p.fault->code != 0) {
        return;  // of every block: this kernel reports none itself
    }
    int end = *p.num_tiles * p.num_kv_heads;
    for (int work = static_cast<int>(blockIdx.x); work < end; work += static_cast<int>(gridDim.x)) {
        prefill_tile<head_dim>(p, p.tiles[work / p.num_kv_heads], work % p.num_kv_heads, query, stages);
    }
}

}  // namespace

// The number is head_dim. Dynamic shared memory: PrefillTile::shared_bytes.
#define PAGED_PREFILL(head_dim, blocks)                                                                                       \
    KERNEL(prefill_threads, blocks) mr_paged_prefill_##head_dim(PARAMS(mr_paged_prefill_params) p) {                          \
        SHARED_MEMORY(memory);                                                                                                \
        paged_prefill<head_dim>(p, shared_at<bf16>(memory, 0), shared_at<bf16>(memory, PrefillTile<head_dim>::query * 2));    \
    }
PAGED_PREFILL(16, 2)
PAGED_PREFILL(32, 2)
PAGED_PREFILL(64, 2)
PAGED_PREFILL(96, 2)
PAGED_PREFILL(128, 2)
PAGED_PREFILL(256, 1)

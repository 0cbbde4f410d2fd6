// Between the qkv product and attention: bias, query and key norms (arXiv 2010.04245), rotation (arXiv 2104.09864), KV write.
//
// A warp per head. A lane owns pairs of neighbouring elements, (2u, 2u + 1) for u = lane, lane + 32, ...; where the rotation pairs element i
// with i + rotary_dim / 2 it also reads the partner's pair, which another lane owns: the second read hits L1, and needs no exchange.
#include "common.h"

constexpr int qkv_heads_per_block = 4;
constexpr int qkv_max_pairs = 4;  // per lane: head_dim up to 256

namespace {

struct Pair {
    float x = 0;
    float y = 0;
};

TILE Pair load_pair(const bf16 *head, const float *bias, int unit) {
    uint32_t v = load4(head + 2 * unit);
    Pair pair{low_half(v), high_half(v)};
    if (bias != nullptr) {
        pair.x += bias[2 * unit];
        pair.y += bias[2 * unit + 1];
    }
    return pair;
}

}  // namespace

KERNEL(32 * qkv_heads_per_block, 8) mr_qkv_post(PARAMS(mr_qkv_post_params) p) {
    pdl_wait();
    pdl_trigger();
    int row = static_cast<int>(blockIdx.x);
    int head = static_cast<int>(blockIdx.y * qkv_heads_per_block + threadIdx.x / 32);
    int key_heads_end = p.num_heads + p.num_kv_heads;
    int heads_end = key_heads_end + p.num_kv_heads;
    if (row >= *p.rows || head >= heads_end) {
        return;
    }
    int lane = lane_id();
    int position = p.positions[row];
    bool is_query = head < p.num_heads;
    bool is_value = head >= key_heads_end;
    int64_t block = 0;
    if (position < 0 || position >= p.max_positions || position / MR_CUDA_PAGE >= p.max_blocks) {
        if (lane == 0) {
            report_fault(p.fault, MR_CUDA_FAULT_POSITION, row, position, p.max_positions);
        }
        return;
    }
    if (!is_query) {
        block = p.block_tables[static_cast<int64_t>(p.token_sequence[row]) * p.max_blocks + position / MR_CUDA_PAGE];
        if (block < 0 || block >= p.num_blocks) {
            if (lane == 0) {
                report_fault(p.fault, MR_CUDA_FAULT_BLOCK, row, static_cast<int>(block), p.num_blocks);
            }
            return;
        }
    }
    int units = p.head_dim / 2;
    int page_units = p.page_dim / 2;
    int rotary_units = p.rotary_dim / 2;
    bool halves = p.interleaved == 0;
    const bf16 *from = p.qkv + static_cast<int64_t>(row) * p.qkv_stride + head * p.head_dim;
    const float *bias = p.bias == nullptr ? nullptr : p.bias + head * p.head_dim;
    const float *norm = is_value ? nullptr : is_query ? p.query_norm : p.key_norm;

    Pair own[qkv_max_pairs];
    Pair partner[qkv_max_pairs];
    float squares = 0;
#pragma unroll
    for (int i = 0; i < qkv_max_pairs; i++) {
        int unit = lane + 32 * i;
        if (unit < units) {
            own[i] = load_pair(from, bias, unit);
            squares += own[i].x * own[i].x + own[i].y * own[i].y;
            if (!is_value && halves && unit < rotary_units) {
                partner[i] = load_pair(from, bias, unit < rotary_units / 2 ? unit + rotary_units / 2 : unit - rotary_units / 2);
            }
        }
    }
    float factor = 1;
    if (norm != nullptr) {
        factor = 1 / sqrtf(warp_sum(squares) / static_cast<float>(p.head_dim) + p.norm_eps);
    }
    // Where q_out is qkv itself, no lane may write before all have read.
    sync_warp();

    const float *cosine = p.cosine + static_cast<int64_t>(position) * rotary_units;
    const float *sine = p.sine + static_cast<int64_t>(position) * rotary_units;
    bf16 *page = p.kv + ((block * p.num_kv_heads + (head - p.num_heads) % p.num_kv_heads) * 2 + (is_value ? 1 : 0)) * MR_CUDA_PAGE * p.page_dim;
    int slot = position % MR_CUDA_PAGE;
#pragma unroll
    for (int i = 0; i < qkv_max_pairs; i++) {
        int unit = lane + 32 * i;
        if (unit >= page_units) {
            continue;
        }
        Pair v = own[i];  // zero beyond the head
        if (norm != nullptr && unit < units) {
            v.x *= factor * norm[2 * unit];
            v.y *= factor * norm[2 * unit + 1];
        }
        if (!is_value && unit < rotary_units) {
            if (halves) {
                bool first = unit < rotary_units / 2;
                int other = first ? unit + rotary_units / 2 : unit - rotary_units / 2;
                Pair w = partner[i];
                if (norm != nullptr) {
                    w.x *= factor * norm[2 * other];
                    w.y *= factor * norm[2 * other + 1];
                }
                int angle = 2 * (first ? unit : other);
                float sign = first ? -1.0f : 1.0f;
                v.x = v.x * cosine[angle] + sign * w.x * sine[angle];
                v.y = v.y * cosine[angle + 1] + sign * w.y * sine[angle + 1];
            } else {
                float x = v.x * cosine[unit] - v.y * sine[unit];
                v.y = v.y * cosine[unit] + v.x * sine[unit];
                v.x = x;
            }
        }
        if (is_query) {
            store4(p.q_out + static_cast<int64_t>(row) * p.q_stride + head * p.page_dim + 2 * unit, pack_bf16(v.x * p.q_scale, v.y * p.q_scale));
        } else {
            int chunk = kv_chunk(unit / 4, slot, p.page_dim);
            store4(page + slot * p.page_dim + chunk * 8 + unit % 4 * 2, pack_bf16(v.x, v.y));
        }
    }
}

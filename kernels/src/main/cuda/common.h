// What several kernels share: reductions in a fixed order, fault reports, the page layout.
#pragma once
#include "tile.h"

constexpr float minus_infinity = -__builtin_huge_valf();
constexpr float log2_e = 1.4426950408889634f;

// f of each of the four registers of a vector.
template <class F>
TILE uint4 map_pairs(uint4 v, F f) {
    return make_uint4(f(v.x), f(v.y), f(v.z), f(v.w));
}

// Sums over the lanes of a warp; every lane gets the same bits.
TILE float warp_sum(float x) {
    for (int step = 16; step > 0; step /= 2) {
        x += shuffle_xor(x, step);
    }
    return x;
}

TILE float warp_max(float x) {
    for (int step = 16; step > 0; step /= 2) {
        x = fmaxf(x, shuffle_xor(x, step));
    }
    return x;
}

// Sum over the block, for every thread; `scratch` has a float per warp, and may be used again after the next sync_block().
template <int threads>
TILE float block_sum(float x, smem<float> scratch) {
    x = warp_sum(x);
    if (lane_id() == 0) {
        scratch[threadIdx.x / 32] = x;
    }
    sync_block();
    float sum = 0;
#pragma unroll
    for (int w = 0; w < threads / 32; w++) {
        sum += scratch[w];
    }
    return sum;
}

// The first fault of a step stays.
TILE void report_fault(mr_cuda_fault *fault, int code, int row, int value, int limit) {
    if (atomic_cas(&fault->code, 0, code) == 0) {
        fault->row = row;
        fault->value = value;
        fault->limit = limit;
    }
}

// Where chunk `chunk` (8 elements) of row `row` of a page lies within its row: see millrace_cuda.h.
template <int head_dim>
TILE int kv_chunk(int chunk, int row) {
    constexpr int chunks = head_dim / 8;
    return chunks % 8 == 0 ? chunk ^ (row & 7) : chunks % 4 == 0 ? chunk ^ (row >> 1 & 3) : chunks % 2 == 0 ? chunk ^ (row >> 2 & 1) : chunk;
}

TILE int kv_chunk(int chunk, int row, int head_dim) {
    int chunks = head_dim / 8;
    return chunks % 8 == 0 ? chunk ^ (row & 7) : chunks % 4 == 0 ? chunk ^ (row >> 1 & 3) : chunks % 2 == 0 ? chunk ^ (row >> 2 & 1) : chunk;
}

TILE float sigmoid(float x) { return 1 / (1 + exp2_fast(-log2_e * x)); }

// x / 2 * (1 + tanh(u)), u = sqrt(2 / pi) * (x + 0.044715 x^3), which is x * sigmoid(2u): nothing cancels where tanh(u) is near -1.
TILE float gelu_tanh(float x) { return x * sigmoid(2 * 0.7978845608f * (x + 0.044715f * x * x * x)); }

TILE float silu(float x) { return x * sigmoid(x); }

// cap * tanh(x / cap), as 1 - 2 / (1 + e^2u): exact at both ends.
TILE float soft_capped(float x, float cap) { return cap * (1 - 2 / (1 + exp2_fast(2 * log2_e / cap * x))); }

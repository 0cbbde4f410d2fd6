// Products of few rows with a bfloat16 weight, bound by reading it: every byte of the weight is read once, straight to registers.
//
// "Swapped": 16 rows of the weight are the M side of m16n8k16, 8 tokens the N side. No shuffling of the weight, offline or in shared memory:
// a dot product does not care in which order k runs, as long as both sides agree. A lane loads 16 contiguous bytes of its row, k = 8t..8t+7
// of a window of 32, and takes them as its pieces of two k-steps; it loads the same 16 bytes of its token:
//
//     k-step 0:  a0, b0 = 8t..8t+1    a2, b1 = 8t+2..8t+3      (PTX means 2t.. and 2t+8.. by these)
//     k-step 1:  a0, b0 = 8t+4..      a2, b1 = 8t+6..
//
// The eight warps of a block share its rows and take turns along k, two windows (128 contiguous bytes of each row) at a time; their sums are
// added in the order of the warps. Which warp sums what hangs on K alone, so a row's bits do not depend on the number of rows or the variant.
// The first windows are loaded before pdl_wait(): weights are nobody's output.
#include "common.h"

namespace {

constexpr int linear_warps = 8;
constexpr int linear_threads = 32 * linear_warps;
constexpr int linear_windows = 2;  // of 32 k, per turn of a warp

enum class Epilogue { store, add, logits, silu, gelu };

}  // namespace

template <int token_tiles>
struct LinearTile {
    static constexpr int row_tiles = token_tiles <= 2 ? 1 : 2;  // two, so that a load of x serves more rows
    static constexpr int tokens = 8 * token_tiles;
    static constexpr int stride = 16 * row_tiles + 4;  // floats per token of a warp's sums: no bank conflict when they are written
    static constexpr int shared_bytes = linear_warps * tokens * stride * 4;
};

namespace {

template <Epilogue epilogue>
constexpr bool is_gated = epilogue == Epilogue::silu || epilogue == Epilogue::gelu;

// What a lane holds of one window: of rows g and g + 8 of each tile. `k` is where in the row it begins.
template <int row_tiles>
TILE void load_window(uint4 (&w)[row_tiles][2], const bf16 *const (&rows)[row_tiles][2], int offset, int k, int in_features) {
#pragma unroll
    for (int r = 0; r < row_tiles; r++) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            w[r][h] = k < in_features ? load16_once(rows[r][h] + offset) : make_uint4(0, 0, 0, 0);
        }
    }
}

template <Epilogue epilogue>
TILE void finish(const mr_linear_params &p, int token, int n, float sum, float up) {
    int64_t at = static_cast<int64_t>(token) * p.out_features + n;
    if (p.bias != nullptr) {
        sum += p.bias[n];
        up += is_gated<epilogue> ? p.bias[p.out_features + n] : 0;
    }
    bf16 *out = static_cast<bf16 *>(p.out);
    if (epilogue == Epilogue::store) {
        out[at] = to_bf16(sum);
    } else if (epilogue == Epilogue::add) {
        out[at] = to_bf16(to_float(out[at]) + sum);
    } else if (epilogue == Epilogue::logits) {
        static_cast<float *>(p.out)[at] = p.soft_cap > 0 ? soft_capped(sum, p.soft_cap) : sum;
    } else {
        out[at] = to_bf16((epilogue == Epilogue::silu ? silu(sum) : gelu_tanh(sum)) * up);
    }
}

template <int token_tiles, Epilogue epilogue>
TILE void linear(const mr_linear_params &p, smem<float> sums) {
    using Tile = LinearTile<token_tiles>;
    constexpr int row_tiles = Tile::row_tiles;
    constexpr bool gated = is_gated<epilogue>;
    constexpr int outputs = gated ? 8 * row_tiles : 16 * row_tiles;  // of a block, per token
    int lane = lane_id();
    int warp = static_cast<int>(threadIdx.x / 32);
    int g = lane / 4;
    int t = lane % 4;
    int first_output = static_cast<int>(blockIdx.x) * outputs;
    constexpr int turn = linear_warps * linear_windows * 32;    // k per turn of all warps
    int begin = warp * linear_windows * 32 + 8 * t;             // of this lane's first window
    const bf16 *rows[row_tiles][2];
#pragma unroll
    for (int r = 0; r < row_tiles; r++) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            // Gated: the lower half of a tile is gate rows, the upper half the up rows that go with them.
            // Beyond the last row there is nothing to read: the last is read again, and what comes of it left alone.
            int n = min(first_output + (gated ? r * 8 + g : r * 16 + h * 8 + g), p.out_features - 1);
            int64_t row = gated && h == 1 ? static_cast<int64_t>(p.out_features) + n : n;
            rows[r][h] = p.weight + row * p.in_features + begin;
        }
    }
    uint4 weights[linear_windows][row_tiles][2];
#pragma unroll
    for (int u = 0; u < linear_windows; u++) {
        load_window(weights[u], rows, u * 32, begin + u * 32, p.in_features);
    }
    pdl_wait();
    pdl_trigger();

    int first_token = static_cast<int>(blockIdx.y) * Tile::tokens;
    int tokens = *p.rows - first_token;
    if (tokens <= 0) {
        return;
    }
    const bf16 *x[token_tiles];
#pragma unroll
    for (int c = 0; c < token_tiles; c++) {
        int token = min(c * 8 + g, tokens - 1);  // absent ones as well: nobody looks at their columns
        x[c] = p.x + static_cast<int64_t>(first_token + token) * p.in_features + begin;
    }
    float acc[row_tiles][token_tiles][4];
#pragma unroll
    for (int r = 0; r < row_tiles; r++) {
#pragma unroll
        for (int c = 0; c < token_tiles; c++) {
            acc[r][c][0] = acc[r][c][1] = acc[r][c][2] = acc[r][c][3] = 0;
        }
    }
    // All lanes of a warp turn together: the warp's first k decides.
#pragma unroll 1
    for (int k = begin; k - 8 * t < p.in_features; k += turn) {
#pragma unroll
        for (int r = 0; r < row_tiles; r++) {
            rows[r][0] += turn;
            rows[r][1] += turn;
        }
#pragma unroll
        for (int u = 0; u < linear_windows; u++) {
#pragma unroll
            for (int c = 0; c < token_tiles; c++) {
                uint4 b = k + u * 32 < p.in_features ? load16(x[c] + u * 32) : make_uint4(0, 0, 0, 0);
#pragma unroll
                for (int r = 0; r < row_tiles; r++) {
                    const uint4 &low = weights[u][r][0];
                    const uint4 &high = weights[u][r][1];
                    uint32_t first_step[4] = {low.x, high.x, low.y, high.y};
                    uint32_t second_step[4] = {low.z, high.z, low.w, high.w};
                    mma_16816(acc[r][c], first_step, b.x, b.y);
                    mma_16816(acc[r][c], second_step, b.z, b.w);
                }
            }
            // The registers of this window are free: the same window of the next turn sets out while the others are multiplied.
            load_window(weights[u], rows, u * 32, k + turn + u * 32, p.in_features);
            schedule_fence();
        }
#pragma unroll
        for (int c = 0; c < token_tiles; c++) {
            x[c] += turn;
        }
    }

    smem<float> own = sums + warp * Tile::tokens * Tile::stride;
#pragma unroll
    for (int r = 0; r < row_tiles; r++) {
#pragma unroll
        for (int c = 0; c < token_tiles; c++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                own[(c * 8 + 2 * t + i % 2) * Tile::stride + r * 16 + g + i / 2 * 8] = acc[r][c][i];
            }
        }
    }
    sync_block();
    for (int i = static_cast<int>(threadIdx.x); i < outputs * Tile::tokens; i += linear_threads) {
        int token = i / outputs;
        int output = i % outputs;
        int n = first_output + output;
        if (token >= tokens || n >= p.out_features) {
            continue;
        }
        int at = token * Tile::stride + (gated ? output / 8 * 16 + output % 8 : output);
        float sum = 0;
        float up = 0;
#pragma unroll
        for (int w = 0; w < linear_warps; w++) {
            sum += sums[w * Tile::tokens * Tile::stride + at];
            up += gated ? static_cast<float>(sums[w * Tile::tokens * Tile::stride + at + 8]) : 0;
        }
        finish<epilogue>(p, first_token + token, n, sum, up);
    }
}

}  // namespace

// The number is the tokens of a block. Grid: (ceil(out_features / outputs), ceil(rows / tokens)), where outputs is 16, or 32 from 32 tokens
// on; half of that for the gated ones.
#define LINEAR(what, token_tiles, tokens, blocks)                                                         \
    KERNEL(linear_threads, blocks) mr_linear_##what##_##tokens(PARAMS(mr_linear_params) p) {              \
        SHARED_MEMORY(memory);                                                                            \
        linear<token_tiles, Epilogue::what>(p, shared_at<float>(memory, 0));                              \
    }
#define LINEAR_OF_ALL_SIZES(what) LINEAR(what, 1, 8, 3) LINEAR(what, 2, 16, 2) LINEAR(what, 4, 32, 1) LINEAR(what, 8, 64, 1)
LINEAR_OF_ALL_SIZES(store)
LINEAR_OF_ALL_SIZES(add)
LINEAR_OF_ALL_SIZES(logits)
LINEAR_OF_ALL_SIZES(silu)
LINEAR_OF_ALL_SIZES(gelu)

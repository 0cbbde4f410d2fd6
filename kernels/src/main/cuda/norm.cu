// Residual addition and root mean square norm (arXiv 1910.07467) in one pass: the row stays in registers between its sum of squares and its
// scaling. One block per row; the variants differ in how many 16-byte vectors a thread holds, so that all loads of a row are under way at
// once.
#include "common.h"

constexpr int norm_threads = 256;

template <int vectors>
TILE void add_rms_norm(const mr_add_rms_norm_params &p, smem<float> scratch) {
    pdl_wait();
    pdl_trigger();
    int row = static_cast<int>(blockIdx.x);
    if (row >= *p.rows) {
        return;
    }
    bf16 *residual = p.residual + static_cast<int64_t>(row) * p.cols;
    const bf16 *delta = p.delta == nullptr ? nullptr : p.delta + static_cast<int64_t>(row) * p.cols;
    bf16 *out = p.out + static_cast<int64_t>(row) * p.cols;
    uint4 kept[vectors];
#pragma unroll
    for (int v = 0; v < vectors; v++) {
        int c = (v * norm_threads + static_cast<int>(threadIdx.x)) * 8;
        kept[v] = c < p.cols ? load16(residual + c) : make_uint4(0, 0, 0, 0);
    }
    if (delta != nullptr) {
#pragma unroll
        for (int v = 0; v < vectors; v++) {
            int c = (v * norm_threads + static_cast<int>(threadIdx.x)) * 8;
            if (c < p.cols) {
                uint4 d = load16(delta + c);
                kept[v].x = pack_bf16(low_half(kept[v].x) + low_half(d.x), high_half(kept[v].x) + high_half(d.x));
                kept[v].y = pack_bf16(low_half(kept[v].y) + low_half(d.y), high_half(kept[v].y) + high_half(d.y));
                kept[v].z = pack_bf16(low_half(kept[v].z) + low_half(d.z), high_half(kept[v].z) + high_half(d.z));
                kept[v].w = pack_bf16(low_half(kept[v].w) + low_half(d.w), high_half(kept[v].w) + high_half(d.w));
                store16(residual + c, kept[v]);
            }
        }
    }
    // The squares are those of the rounded residual: what the next layer adds to is what was normalised here.
    float squares = 0;
    auto square = [&](uint32_t pair) { squares += low_half(pair) * low_half(pair) + high_half(pair) * high_half(pair); };
#pragma unroll
    for (int v = 0; v < vectors; v++) {
        square(kept[v].x);
        square(kept[v].y);
        square(kept[v].z);
        square(kept[v].w);
    }
    float factor = 1 / sqrtf(block_sum<norm_threads>(squares, scratch) / static_cast<float>(p.width) + p.eps);
#pragma unroll
    for (int v = 0; v < vectors; v++) {
        int c = (v * norm_threads + static_cast<int>(threadIdx.x)) * 8;
        if (c < p.cols) {
            const float *w = p.weight + c;
            uint4 y;
            y.x = pack_bf16(low_half(kept[v].x) * factor * w[0], high_half(kept[v].x) * factor * w[1]);
            y.y = pack_bf16(low_half(kept[v].y) * factor * w[2], high_half(kept[v].y) * factor * w[3]);
            y.z = pack_bf16(low_half(kept[v].z) * factor * w[4], high_half(kept[v].z) * factor * w[5]);
            y.w = pack_bf16(low_half(kept[v].w) * factor * w[6], high_half(kept[v].w) * factor * w[7]);
            store16(out + c, y);
        }
    }
}

// The number is the widest row in units of 2048 columns. Dynamic shared memory: 32 bytes.
#define ADD_RMS_NORM(vectors)                                                             \
    KERNEL(norm_threads, 2) mr_add_rms_norm_##vectors(PARAMS(mr_add_rms_norm_params) p) { \
        SHARED_MEMORY(memory);                                                            \
        add_rms_norm<vectors>(p, shared_at<float>(memory, 0));                            \
    }
ADD_RMS_NORM(1)
ADD_RMS_NORM(2)
ADD_RMS_NORM(4)
ADD_RMS_NORM(8)

// silu(gate) * up and gelu(gate) * up (arXiv 2002.05202), 16 bytes of each per thread.
#include "common.h"

constexpr int gate_threads = 256;

template <float (*activation)(float)>
TILE uint32_t gated(uint32_t gate, uint32_t up) {
    return pack_bf16(activation(low_half(gate)) * low_half(up), activation(high_half(gate)) * high_half(up));
}

// Elements i and i + 1, each as long as it is one of the first `count`; else zero.
TILE uint32_t pair_below(const bf16 *x, int i, int count) {
    uint32_t low = i < count ? x[i].bits : 0;
    uint32_t high = i + 1 < count ? x[i + 1].bits : 0;
    return low | high << 16;
}

template <float (*activation)(float)>
TILE void gate_rows(const mr_gate_params &p) {
    pdl_wait();
    pdl_trigger();
    int row = static_cast<int>(blockIdx.x);
    int c = static_cast<int>(blockIdx.y * gate_threads + threadIdx.x) * 8;
    if (row >= *p.rows || c >= p.out_stride) {
        return;
    }
    const bf16 *gate = p.gate_up + static_cast<int64_t>(row) * p.gate_up_stride + c;
    uint4 g;
    uint4 u;
    if (p.cols % 8 == 0) {
        g = load16(gate);
        u = load16(gate + p.cols);
    } else {
        // The up half begins anywhere: one by one. What lies beyond the last of a row's gates are ups, which count as zero here.
        int left = p.cols - c;
        g = make_uint4(pair_below(gate, 0, left), pair_below(gate, 2, left), pair_below(gate, 4, left), pair_below(gate, 6, left));
        gate += p.cols;
        u = make_uint4(pair_below(gate, 0, left), pair_below(gate, 2, left), pair_below(gate, 4, left), pair_below(gate, 6, left));
    }
    uint4 y;
    y.x = gated<activation>(g.x, u.x);
    y.y = gated<activation>(g.y, u.y);
    y.z = gated<activation>(g.z, u.z);
    y.w = gated<activation>(g.w, u.w);
    store16(p.out + static_cast<int64_t>(row) * p.out_stride + c, y);
}

KERNEL(gate_threads, 4) mr_silu_mul(PARAMS(mr_gate_params) p) { gate_rows<silu>(p); }
KERNEL(gate_threads, 4) mr_gelu_mul(PARAMS(mr_gate_params) p) { gate_rows<gelu_tanh>(p); }

// silu(gate) * up and gelu(gate) * up (arXiv 2002.05202), 16 bytes of each per thread.
#include "common.h"

constexpr int gate_threads = 256;

template <float (*activation)(float)>
TILE uint32_t gated(uint32_t gate, uint32_t up) {
    return pack_bf16(activation(low_half(gate)) * low_half(up), activation(high_half(gate)) * high_half(up));
}

template <float (*activation)(float)>
TILE void gate_rows(const mr_gate_params &p) {
    pdl_wait();
    pdl_trigger();
    int row = static_cast<int>(blockIdx.x);
    int c = static_cast<int>(blockIdx.y * gate_threads + threadIdx.x) * 8;
    if (row >= *p.rows || c >= p.cols) {
        return;
    }
    const bf16 *gate = p.gate_up + static_cast<int64_t>(row) * 2 * p.cols + c;
    uint4 g = load16(gate);
    uint4 u = load16(gate + p.cols);
    uint4 y;
    y.x = gated<activation>(g.x, u.x);
    y.y = gated<activation>(g.y, u.y);
    y.z = gated<activation>(g.z, u.z);
    y.w = gated<activation>(g.w, u.w);
    store16(p.out + static_cast<int64_t>(row) * p.cols + c, y);
}

KERNEL(gate_threads, 4) mr_silu_mul(PARAMS(mr_gate_params) p) { gate_rows<silu>(p); }
KERNEL(gate_threads, 4) mr_gelu_mul(PARAMS(mr_gate_params) p) { gate_rows<gelu_tanh>(p); }

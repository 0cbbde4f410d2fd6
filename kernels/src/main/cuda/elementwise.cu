// What is rarely left for a kernel of its own, since products and norms take it along: residual additions, caps of logits.
#include "common.h"

constexpr int elementwise_threads = 256;

KERNEL(elementwise_threads, 8) mr_add(PARAMS(mr_add_params) p) {
    pdl_wait();
    pdl_trigger();
    int row = static_cast<int>(blockIdx.x);
    int c = static_cast<int>(blockIdx.y * elementwise_threads + threadIdx.x) * 8;
    if (row >= *p.rows || c >= p.cols) {
        return;
    }
    bf16 *residual = p.residual + static_cast<int64_t>(row) * p.cols + c;
    uint4 x = load16(residual);
    uint4 d = load16(p.delta + static_cast<int64_t>(row) * p.cols + c);
    auto sum = [](uint32_t a, uint32_t b) { return pack_bf16(low_half(a) + low_half(b), high_half(a) + high_half(b)); };
    store16(residual, make_uint4(sum(x.x, d.x), sum(x.y, d.y), sum(x.z, d.z), sum(x.w, d.w)));
}

// tanhf, not the quick form of the products' epilogue: small values keep all of their bits.
KERNEL(elementwise_threads, 8) mr_soft_cap(PARAMS(mr_soft_cap_params) p) {
    pdl_wait();
    pdl_trigger();
    int row = static_cast<int>(blockIdx.x);
    int first = static_cast<int>(blockIdx.y) * 4 * elementwise_threads + static_cast<int>(threadIdx.x);
    if (row >= *p.rows) {
        return;
    }
    for (int i = 0; i < 4; i++) {
        int c = first + i * elementwise_threads;
        if (c < p.cols) {
            float *x = p.x + static_cast<int64_t>(row) * p.cols + c;
            *x = p.cap * tanhf(*x / p.cap);
        }
    }
}

// The rows of which logits are wanted.
#include "common.h"

constexpr int gather_threads = 128;

KERNEL(gather_threads, 8) mr_gather_rows(PARAMS(mr_gather_params) p) {
    pdl_wait();
    pdl_trigger();
    int row = static_cast<int>(blockIdx.x);
    if (row >= *p.rows) {
        return;
    }
    const bf16 *from = p.x + static_cast<int64_t>(p.logit_rows[row]) * p.cols;
    bf16 *to = p.out + static_cast<int64_t>(row) * p.cols;
    for (int c = static_cast<int>(threadIdx.x) * 8; c < p.cols; c += gather_threads * 8) {
        store16(to + c, load16(from + c));
    }
}

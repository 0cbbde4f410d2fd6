// Rows of the embedding table. Bound by the latency of one gather: a block per token, 16 bytes per thread and turn.
#include "common.h"

constexpr int embed_threads = 128;

KERNEL(embed_threads, 8) mr_embed(PARAMS(mr_embed_params) p) {
    pdl_wait();
    pdl_trigger();
    int row = static_cast<int>(blockIdx.x);
    if (row >= *p.rows) {
        return;
    }
    int source = p.token_source[row];
    int id = source < 0 ? p.token_ids[row] : source < p.previous_rows ? p.previous_token[source] : -1;
    if (id < 0 || id >= p.vocab) {
        if (threadIdx.x == 0) {
            report_fault(p.fault, MR_CUDA_FAULT_TOKEN_ID, row, id, p.vocab);
        }
        return;
    }
    const bf16 *from = p.table + static_cast<int64_t>(id) * p.hidden;
    bf16 *to = p.out + static_cast<int64_t>(row) * p.hidden;
    for (int c = static_cast<int>(threadIdx.x) * 8; c < p.hidden; c += embed_threads * 8) {
        uint4 v = load16(from + c);
        if (p.scale != 1) {
            v = map_pairs(v, [&](uint32_t pair) { return pack_bf16(low_half(pair) * p.scale, high_half(pair) * p.scale); });
        }
        store16(to + c, v);
    }
}

/* Row-wise kernels: embedding, norms, residual add, gated activations, soft-cap, gather. Rows are claimed one by one or in small runs; each is one thread's. */
#include "kernels.h"
#include "row.h"

/* One column of a tile: a walk over one element in each cache line. */
static void load_column(const char *tile, int32_t format, int64_t column, float *out, int64_t cols) {
    if (format == MR_FORMAT_BF16_PAIRS) {
        for (int64_t k = 0; k < cols; k++) {
            out[k] = s_load(tile, MR_BF16, (k / 2 * MR_TILE_COLS + column) * 2 + k % 2);
        }
        return;
    }
    int64_t lane = format == MR_FORMAT_BF16 ? mr_bf16_lane(column) : column;
    for (int64_t k = 0; k < cols; k++) {
        out[k] = s_load(tile, format, k * MR_TILE_COLS + lane);
    }
}

static int32_t code_at(const uint8_t *part, int32_t format, int64_t column, int64_t k) {
    const uint8_t *at = part + column * 4 + k % 4;
    int64_t group = k / 4;
    if (format == MR_FORMAT_Q8_0) {
        return at[group * MR_LINE];
    }
    int32_t code = at[group / 2 * MR_LINE] >> (group % 2 * 4) & 15;
    if (mr_high_bits(format) == 1) {
        code |= (at[4 * MR_LINE] >> group & 1) << 4;
    } else if (mr_high_bits(format) == 2) {
        code |= (at[(4 + group / 4) * MR_LINE] >> (group % 4 * 2) & 3) << 4;
    }
    return code;
}

/* The values that the format defines: products of scales and codes are exact in a float, only a minimum costs a rounding. */
static void decode_column(const char *tile, int32_t format, int64_t column, float *out, int64_t cols) {
    int64_t record_k = mr_record_k(format);
    int32_t offset = mr_has_minimum(format) ? 0 : 1 << mr_offset_bits(format);
    for (int64_t k = 0; k < cols; k++) {
        const uint8_t *record = (const uint8_t *)tile + k / record_k * mr_record_bytes(format);
        const uint8_t *part = record + mr_header_bytes(format)
                              + k % record_k / MR_BLOCK * (mr_part_header_bytes(format) + mr_part_bytes(format));
        float d = s_from_f16(((const uint16_t *)record)[column]);
        float m = mr_has_minimum(format) ? s_from_f16(((const uint16_t *)record)[MR_TILE_COLS + column]) : 0.0f;
        if (format == MR_FORMAT_Q6_K) {
            d *= (float)(int8_t)part[k % MR_BLOCK / 16 * MR_TILE_COLS + column];
        } else if (record_k == MR_SUPER_BLOCK) {
            d *= (float)part[column];
            m *= (float)part[MR_TILE_COLS + column];
        }
        int32_t code = code_at(part + mr_part_header_bytes(format), format, column, k % MR_BLOCK);
        out[k] = d * (float)(code - offset) - m;
    }
}

void MR_NAME(mr_embed)(mr_thread *thread, const mr_embed_args *a) {
    const mr_batch *batch = thread->batch;
    int64_t rows = mr_rows(batch, &a->out);
    int64_t cols = a->out.cols;
    for (int64_t t; (t = mr_claim(thread, 1, rows)) < rows;) {
        float *out = a->out.data + t * cols;
        int64_t source = batch->token_source == NULL ? -1 : batch->token_source[t];
        int64_t id = source < 0 ? batch->token_ids[t] : batch->previous_token[source];
        const mr_weight *table = &a->table;
        int64_t row = id;
        while (table->next != NULL && row >= table->out_features) {
            row -= table->out_features;
            table = table->next;
        }
        if (row < 0 || row >= table->out_features) {
            mr_fail(thread, MR_E_TOKEN_ID, "token id %lld of batch row %lld is outside the embedding table of %lld rows", id, t,
                    id - row + table->out_features);
            memset(out, 0, (size_t)cols * sizeof(float));
            continue;
        }
        const char *tile = mr_is_deferred(thread, table) ? mr_deferred_column(thread, table, row)
                                                         : (const char *)table->data + row / MR_TILE_COLS * mr_tile_bytes(table->format, cols);
        if (mr_is_quantised(table->format)) {
            decode_column(tile, table->format, row % MR_TILE_COLS, out, cols);
        } else {
            load_column(tile, table->format, row % MR_TILE_COLS, out, cols);
        }
        for (int64_t k = 0; k < cols; k++) {
            out[k] *= a->scale;
        }
    }
}

void MR_NAME(mr_rms_norm)(mr_thread *thread, const mr_rms_norm_args *a) {
    int64_t rows = mr_rows(thread->batch, &a->x);
    int64_t cols = a->x.cols;
    for (int64_t t; (t = mr_claim(thread, 1, rows)) < rows;) {
        mr_normalize_row(a->x.data + t * cols, a->weight, a->eps, a->out.data + t * cols, cols);
    }
}

void MR_NAME(mr_add_rms_norm)(mr_thread *thread, const mr_add_rms_norm_args *a) {
    int64_t rows = mr_rows(thread->batch, &a->residual);
    int64_t cols = a->residual.cols;
    for (int64_t t; (t = mr_claim(thread, 1, rows)) < rows;) {
        float *residual = a->residual.data + t * cols;
        mr_accumulate_row(residual, a->delta.data + t * cols, cols);
        mr_normalize_row(residual, a->weight, a->eps, a->out.data + t * cols, cols);
    }
}

void MR_NAME(mr_add)(mr_thread *thread, const mr_add_args *a) {
    int64_t rows = mr_rows(thread->batch, &a->residual);
    int64_t cols = a->residual.cols;
    for (int64_t t; (t = mr_claim(thread, 1, rows)) < rows;) {
        mr_accumulate_row(a->residual.data + t * cols, a->delta.data + t * cols, cols);
    }
}

/* One item: a run of a row. */
static inline __attribute__((always_inline)) void gate_rows(mr_thread *thread, const mr_swiglu_args *a, vf (*activation)(vf)) {
    enum { RUN = 2048 };
    int64_t rows = mr_rows(thread->batch, &a->out);
    int64_t cols = a->out.cols;
    int64_t runs = mr_ceil_div(cols, RUN);
    for (int64_t item; (item = mr_claim(thread, 1, rows * runs)) < rows * runs;) {
        int64_t t = item / runs;
        int64_t first = item % runs * RUN;
        const float *gate = a->gate_up.data + t * 2 * cols + first;
        mr_gate_row(gate, gate + cols, a->out.data + t * cols + first, mr_min(RUN, cols - first), activation);
    }
}

void MR_NAME(mr_swiglu)(mr_thread *thread, const mr_swiglu_args *a) { gate_rows(thread, a, mr_silu); }

void MR_NAME(mr_geglu)(mr_thread *thread, const mr_swiglu_args *a) { gate_rows(thread, a, mr_gelu_tanh); }

void MR_NAME(mr_soft_cap)(mr_thread *thread, const mr_soft_cap_args *a) {
    enum { RUN = 2048 };
    int64_t rows = mr_rows(thread->batch, &a->x);
    int64_t cols = a->x.cols;
    int64_t runs = mr_ceil_div(cols, RUN);
    vf cap = v_set(a->cap);
    for (int64_t item; (item = mr_claim(thread, 1, rows * runs)) < rows * runs;) {
        int64_t first = item % runs * RUN;
        float *x = a->x.data + item / runs * cols + first;
        int64_t count = mr_min(RUN, cols - first);
        for (int64_t k = 0; k < count; k += VW) {
            float lanes[VW] = {0};
            size_t bytes = (size_t)mr_min(VW, count - k) * sizeof(float);
            memcpy(lanes, x + k, bytes);
            v_store(lanes, v_mul(cap, v_tanh(v_div(v_load(lanes), cap))));
            memcpy(x + k, lanes, bytes);
        }
    }
}

void MR_NAME(mr_gather)(mr_thread *thread, const mr_gather_args *a) {
    int64_t rows = mr_rows(thread->batch, &a->out);
    int64_t cols = a->out.cols;
    for (int64_t r; (r = mr_claim(thread, 1, rows)) < rows;) {
        memcpy(a->out.data + r * cols, a->x.data + thread->batch->logit_rows[r] * cols, (size_t)cols * sizeof(float));
    }
}

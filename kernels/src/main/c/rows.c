/* Row-wise kernels: embedding, norms, residual add, SwiGLU, gather. Rows are claimed one by one or in small runs; each is one thread's. */
#include "kernels.h"

void MR_NAME(mr_embed)(mr_thread *thread, const mr_embed_args *a) {
    const mr_batch *batch = thread->batch;
    int64_t rows = mr_rows(batch, &a->out);
    int64_t cols = a->out.cols;
    int32_t dtype = a->table.dtype;
    for (int64_t t; (t = mr_claim(thread, 1, rows)) < rows;) {
        float *out = a->out.data + t * cols;
        int64_t id = batch->token_ids[t];
        if (id < 0 || id >= a->table.out_features) {
            mr_fail(thread, MR_E_TOKEN_ID, "token id %lld of batch row %lld is outside the embedding table of %lld rows", id, t,
                    a->table.out_features);
            memset(out, 0, (size_t)cols * sizeof(float));
            continue;
        }
        /* Column `id % 32` of its tile: a walk over one element in each cache line. */
        int64_t lane = id % MR_TILE_COLS;
        if (dtype == MR_BF16) {
            lane = lane < 16 ? 2 * lane : 2 * (lane - 16) + 1;
        }
        const char *tile = (const char *)a->table.data + id / MR_TILE_COLS * MR_TILE_COLS * cols * mr_dtype_bytes(dtype);
        for (int64_t k = 0; k < cols; k++) {
            out[k] = s_load(tile, dtype, k * MR_TILE_COLS + lane) * a->scale;
        }
    }
}

/* Writes x / sqrt(mean(x^2) + eps) * weight. Four sums are kept, so that the additions do not wait for each other. */
static void normalize(const float *x, const float *weight, float eps, float *out, int64_t cols) {
    vf sums[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
    int64_t k = 0;
    for (; k + 4 * VW <= cols; k += 4 * VW) {
        for (int j = 0; j < 4; j++) {
            vf v = v_load(x + k + j * VW);
            sums[j] = v_fma(v, v, sums[j]);
        }
    }
    float sum = v_sum(v_add(v_add(sums[0], sums[1]), v_add(sums[2], sums[3])));
    for (; k < cols; k++) {
        sum += x[k] * x[k];
    }
    float factor = 1.0f / sqrtf(sum / (float)cols + eps);
    vf f = v_set(factor);
    for (k = 0; k + VW <= cols; k += VW) {
        v_store(out + k, v_mul(v_mul(v_load(x + k), f), v_load(weight + k)));
    }
    for (; k < cols; k++) {
        out[k] = x[k] * factor * weight[k];
    }
}

static void accumulate(float *residual, const float *delta, int64_t cols) {
    int64_t k = 0;
    for (; k + VW <= cols; k += VW) {
        v_store(residual + k, v_add(v_load(residual + k), v_load(delta + k)));
    }
    for (; k < cols; k++) {
        residual[k] += delta[k];
    }
}

void MR_NAME(mr_rms_norm)(mr_thread *thread, const mr_rms_norm_args *a) {
    int64_t rows = mr_rows(thread->batch, &a->x);
    int64_t cols = a->x.cols;
    for (int64_t t; (t = mr_claim(thread, 1, rows)) < rows;) {
        normalize(a->x.data + t * cols, a->weight, a->eps, a->out.data + t * cols, cols);
    }
}

void MR_NAME(mr_add_rms_norm)(mr_thread *thread, const mr_add_rms_norm_args *a) {
    int64_t rows = mr_rows(thread->batch, &a->residual);
    int64_t cols = a->residual.cols;
    for (int64_t t; (t = mr_claim(thread, 1, rows)) < rows;) {
        float *residual = a->residual.data + t * cols;
        accumulate(residual, a->delta.data + t * cols, cols);
        normalize(residual, a->weight, a->eps, a->out.data + t * cols, cols);
    }
}

void MR_NAME(mr_add)(mr_thread *thread, const mr_add_args *a) {
    int64_t rows = mr_rows(thread->batch, &a->residual);
    int64_t cols = a->residual.cols;
    for (int64_t t; (t = mr_claim(thread, 1, rows)) < rows;) {
        accumulate(a->residual.data + t * cols, a->delta.data + t * cols, cols);
    }
}

/* The lanes of a vector do not see each other, so a tail computed in a padded vector has the same bits as one in the middle. */
static void swiglu(const float *gate, const float *up, float *out, int64_t count) {
    vf one = v_set(1.0f);
    int64_t k = 0;
    for (; k + VW <= count; k += VW) {
        vf g = v_load(gate + k);
        v_store(out + k, v_mul(v_div(g, v_add(one, v_exp(v_sub(v_zero(), g)))), v_load(up + k)));
    }
    if (k < count) {
        float g[VW] = {0};
        float u[VW] = {0};
        memcpy(g, gate + k, (size_t)(count - k) * sizeof(float));
        memcpy(u, up + k, (size_t)(count - k) * sizeof(float));
        swiglu(g, u, g, VW);
        memcpy(out + k, g, (size_t)(count - k) * sizeof(float));
    }
}

void MR_NAME(mr_swiglu)(mr_thread *thread, const mr_swiglu_args *a) {
    enum { RUN = 2048 };
    int64_t rows = mr_rows(thread->batch, &a->out);
    int64_t cols = a->out.cols;
    int64_t runs = mr_ceil_div(cols, RUN);
    for (int64_t item; (item = mr_claim(thread, 1, rows * runs)) < rows * runs;) {
        int64_t t = item / runs;
        int64_t first = item % runs * RUN;
        const float *gate = a->gate_up.data + t * 2 * cols + first;
        swiglu(gate, gate + cols, a->out.data + t * cols + first, mr_min(RUN, cols - first));
    }
}

void MR_NAME(mr_gather)(mr_thread *thread, const mr_gather_args *a) {
    int64_t rows = mr_rows(thread->batch, &a->out);
    int64_t cols = a->out.cols;
    for (int64_t r; (r = mr_claim(thread, 1, rows)) < rows;) {
        memcpy(a->out.data + r * cols, a->x.data + thread->batch->logit_rows[r] * cols, (size_t)cols * sizeof(float));
    }
}

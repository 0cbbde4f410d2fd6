/* What is done with a row of activations, or with a run of one: shared by the row-wise ops and by linears that do it on their way. */
#ifndef MILLRACE_ROW_H
#define MILLRACE_ROW_H

#include "simd.h"

/* Writes x / sqrt(mean(x^2) + eps) * weight. Four sums are kept, so that the additions do not wait for each other. */
static inline void mr_normalize_row(const float *x, const float *weight, float eps, float *out, int64_t cols) {
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

static inline void mr_accumulate_row(float *residual, const float *delta, int64_t cols) {
    int64_t k = 0;
    for (; k + VW <= cols; k += VW) {
        v_store(residual + k, v_add(v_load(residual + k), v_load(delta + k)));
    }
    for (; k < cols; k++) {
        residual[k] += delta[k];
    }
}

/* x * sigmoid(x) */
static inline vf mr_silu(vf x) { return v_div(x, v_add(v_set(1.0f), v_exp(v_sub(v_zero(), x)))); }

/*
 * x / 2 * (1 + tanh(u)), u = sqrt(2 / pi) * (x + 0.044715 * x^3) (arXiv 1606.08415), which is x * sigmoid(2 u): no digits are lost where
 * tanh(u) is near -1.
 */
static inline vf mr_gelu_tanh(vf x) {
    vf x2 = v_mul(x, x);
    vf slope = v_fma(x2, v_set(-2.0f * 0.044715f * 0.7978845608f), v_set(-2.0f * 0.7978845608f));
    return v_div(x, v_add(v_set(1.0f), v_exp(v_mul(slope, x))));
}

/* out = activation(gate) * up. The lanes of a vector do not see each other, so a tail in a padded vector has the bits of one in the middle. */
static inline __attribute__((always_inline)) void mr_gate_row(const float *gate, const float *up, float *out, int64_t count, vf (*activation)(vf)) {
    int64_t k = 0;
    for (; k + VW <= count; k += VW) {
        v_store(out + k, v_mul(activation(v_load(gate + k)), v_load(up + k)));
    }
    if (k < count) {
        float g[VW] = {0};
        float u[VW] = {0};
        memcpy(g, gate + k, (size_t)(count - k) * sizeof(float));
        memcpy(u, up + k, (size_t)(count - k) * sizeof(float));
        v_store(g, v_mul(activation(v_load(g)), v_load(u)));
        memcpy(out + k, g, (size_t)(count - k) * sizeof(float));
    }
}

#endif

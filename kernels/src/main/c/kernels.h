/* The kernels of one instruction set, by their names with its suffix. */
#ifndef MILLRACE_KERNELS_H
#define MILLRACE_KERNELS_H

#include "dot.h"

void MR_NAME(mr_embed)(mr_thread *thread, const mr_embed_args *a);
void MR_NAME(mr_rms_norm)(mr_thread *thread, const mr_rms_norm_args *a);
void MR_NAME(mr_add_rms_norm)(mr_thread *thread, const mr_add_rms_norm_args *a);
void MR_NAME(mr_add)(mr_thread *thread, const mr_add_args *a);
void MR_NAME(mr_linear)(mr_thread *thread, const mr_op *op);
void MR_NAME(mr_rope)(mr_thread *thread, const mr_rope_args *a);
bool MR_NAME(mr_rope_token)(mr_thread *thread, const mr_rope_args *a, int64_t token, int64_t kv_head);
void MR_NAME(mr_attention)(mr_thread *thread, const mr_attention_args *a, const mr_rope_args *before);
mr_attend_kernel MR_NAME(mr_attend_of)(int32_t dtype); /* of the keys and values */
bool MR_NAME(mr_attention_takes_rope)(const mr_thread *thread, const mr_attention_args *a);
void MR_NAME(mr_swiglu)(mr_thread *thread, const mr_swiglu_args *a);
void MR_NAME(mr_geglu)(mr_thread *thread, const mr_swiglu_args *a);
void MR_NAME(mr_soft_cap)(mr_thread *thread, const mr_soft_cap_args *a);
void MR_NAME(mr_gather)(mr_thread *thread, const mr_gather_args *a);
void MR_NAME(mr_sample)(mr_thread *thread, const mr_sample_args *a);
void MR_NAME(mr_quantize)(mr_thread *thread, const mr_quantize_args *a);
void MR_NAME(mr_pack_tile)(const mr_packing *w, int64_t tile, char *out, bool near);
void MR_NAME(mr_pack_column)(const mr_packing *w, int64_t row, char *out);
int64_t MR_NAME(mr_linear_shared_bytes)(const mr_linear_args *a);
int64_t MR_NAME(mr_linear_scratch_bytes)(const mr_linear_args *a);
int64_t MR_NAME(mr_attention_scratch_bytes)(const mr_attention_args *a);
int64_t MR_NAME(mr_attention_shared_bytes)(const mr_attention_args *a, const mr_batch *batch, int32_t threads);
int64_t MR_NAME(mr_sample_scratch_bytes)(const mr_sample_args *a);

/* Variants by dot product. */
extern const int32_t MR_DOT_NAME(mr_quant_rows);
mr_micro_kernel MR_DOT_NAME(mr_quant_micro)(int32_t format, int64_t rows);
void MR_DOT_NAME(mr_quant_x)(const float *x, int64_t count, mr_x_block *blocks, int64_t stride);
extern const mr_probes MR_DOT_NAME(mr_probes);

/* For AVX512_BF16 alone. */
extern const int32_t mr_bf16_rows;
mr_micro_kernel mr_bf16_micro(int64_t rows);
void mr_bf16_x(const float *x, int64_t count, uint16_t *halves, int64_t stride);
void mr_attend_bf16(const mr_attend_block *b);
int64_t mr_probe_bf16(void);

#endif

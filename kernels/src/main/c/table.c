/* The table of one instruction set, for run-time dispatch. */
#include "kernels.h"

const mr_kernels MR_DOT_NAME(mr_kernels) = {
    .embed = MR_NAME(mr_embed),
    .rms_norm = MR_NAME(mr_rms_norm),
    .add_rms_norm = MR_NAME(mr_add_rms_norm),
    .add = MR_NAME(mr_add),
    .linear = MR_NAME(mr_linear),
    .rope = MR_NAME(mr_rope),
    .attention = MR_NAME(mr_attention),
    .attention_takes_rope = MR_NAME(mr_attention_takes_rope),
    .swiglu = MR_NAME(mr_swiglu),
    .geglu = MR_NAME(mr_geglu),
    .soft_cap = MR_NAME(mr_soft_cap),
    .gather = MR_NAME(mr_gather),
    .sample = MR_NAME(mr_sample),
    .quantize = MR_NAME(mr_quantize),
    .pack_tile = MR_NAME(mr_pack_tile),
    .pack_column = MR_NAME(mr_pack_column),
    .linear_shared_bytes = MR_NAME(mr_linear_shared_bytes),
    .linear_scratch_bytes = MR_NAME(mr_linear_scratch_bytes),
    .attention_scratch_bytes = MR_NAME(mr_attention_scratch_bytes),
    .attention_shared_bytes = MR_NAME(mr_attention_shared_bytes),
    .sample_scratch_bytes = MR_NAME(mr_sample_scratch_bytes),
    .quant_rows = &MR_DOT_NAME(mr_quant_rows),
    .quant_micro = MR_DOT_NAME(mr_quant_micro),
    .quant_x = MR_DOT_NAME(mr_quant_x),
    .probes = &MR_DOT_NAME(mr_probes),
#if defined(MR_VNNI)
    .bf16_rows = &mr_bf16_rows,
    .bf16_micro = mr_bf16_micro,
    .bf16_x = mr_bf16_x,
    .attend_bf16 = mr_attend_bf16,
#endif
};

package io.millrace.kernels.cuda;

import java.util.Locale;

/** The kernels that the backend launches, with the shape of their blocks as {@code gates.tsv} has it (a test compares). */
enum CudaKernel {
    EMBED("embed", 128, 0),
    ADD_RMS_NORM_1("norm", 256, 32), ADD_RMS_NORM_2("norm", 256, 32), ADD_RMS_NORM_4("norm", 256, 32), ADD_RMS_NORM_8("norm", 256, 32),
    ADD("elementwise", 256, 0), SOFT_CAP("elementwise", 256, 0),
    SILU_MUL("gate", 256, 0), GELU_MUL("gate", 256, 0),
    GATHER_ROWS("gather", 128, 0),
    QKV_POST("qkv_post", 128, 0),
    ATTENTION_PLAN("attend_plan", 256, 64),
    PAGED_DECODE_16("attend_decode", 128, 16384), PAGED_DECODE_32("attend_decode", 128, 32768), PAGED_DECODE_64("attend_decode", 128, 65536),
    PAGED_DECODE_96("attend_decode", 128, 73728), PAGED_DECODE_128("attend_decode", 128, 98304), PAGED_DECODE_256("attend_decode", 128, 131072),
    PAGED_PREFILL_16("attend_prefill", 128, 10240), PAGED_PREFILL_32("attend_prefill", 128, 20480), PAGED_PREFILL_64("attend_prefill", 128, 40960),
    PAGED_PREFILL_96("attend_prefill", 128, 61440), PAGED_PREFILL_128("attend_prefill", 128, 81920), PAGED_PREFILL_256("attend_prefill", 128, 98304),
    LINEAR_STORE_8("linear", 256, 5120), LINEAR_STORE_16("linear", 256, 10240), LINEAR_STORE_32("linear", 256, 36864), LINEAR_STORE_64("linear", 256, 73728),
    LINEAR_ADD_8("linear", 256, 5120), LINEAR_ADD_16("linear", 256, 10240), LINEAR_ADD_32("linear", 256, 36864), LINEAR_ADD_64("linear", 256, 73728),
    LINEAR_LOGITS_8("linear", 256, 5120), LINEAR_LOGITS_16("linear", 256, 10240), LINEAR_LOGITS_32("linear", 256, 36864), LINEAR_LOGITS_64("linear", 256, 73728),
    LINEAR_SILU_8("linear", 256, 5120), LINEAR_SILU_16("linear", 256, 10240), LINEAR_SILU_32("linear", 256, 36864), LINEAR_SILU_64("linear", 256, 73728),
    LINEAR_GELU_8("linear", 256, 5120), LINEAR_GELU_16("linear", 256, 10240), LINEAR_GELU_32("linear", 256, 36864), LINEAR_GELU_64("linear", 256, 73728),
    SAMPLE("sample", 512, 33280);

    /** The source file, and the resource {@code /cuda/<file>.fatbin}. */
    final String file;
    final int threads;
    final int sharedBytes;

    CudaKernel(String file, int threads, int sharedBytes) {
        this.file = file;
        this.threads = threads;
        this.sharedBytes = sharedBytes;
    }

    /** Its C name. */
    String symbol() {
        return "mr_" + name().toLowerCase(Locale.ROOT);
    }
}

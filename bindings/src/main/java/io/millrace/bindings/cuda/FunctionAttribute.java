package io.millrace.bindings.cuda;

/** What can be asked of a kernel ({@code CUfunction_attribute}), as far as this program asks. */
public enum FunctionAttribute {
    MAX_THREADS_PER_BLOCK(0),
    STATIC_SHARED_BYTES(1),
    LOCAL_BYTES(3),
    REGISTERS(4),
    /** The virtual architecture that the code was compiled for: 80 on every device that runs it from PTX of compute_80. */
    PTX_VERSION(5),
    /** 90 for code of sm_90. */
    BINARY_VERSION(6),
    MAX_DYNAMIC_SHARED_BYTES(8);

    final int number;

    FunctionAttribute(int number) {
        this.number = number;
    }
}

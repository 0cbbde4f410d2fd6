package io.millrace.bindings.cuda;

/** The {@code CUresult}s and flags that are more than failures to report, as cuda.h numbers them. */
final class CudaStatus {
    static final int NOT_READY = 600;
    static final int PEER_ACCESS_ALREADY_ENABLED = 704;

    static final int STREAM_NON_BLOCKING = 1;
    static final int EVENT_DISABLE_TIMING = 2;
    static final int CAPTURE_THREAD_LOCAL = 1;
    /** {@code CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP}. */
    static final int PINNED_PORTABLE_MAPPED = 3;
    static final int JIT_ERROR_LOG = 5;
    static final int JIT_ERROR_LOG_BYTES = 6;
    /** How much of the compiler's log is kept. */
    static final int JIT_LOG_BYTES = 4096;

    private CudaStatus() {}
}

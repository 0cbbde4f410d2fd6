package io.millrace.kernels.cuda;

/** Makes the launches of products. Where rows are few the weight's bandwidth is the limit, where they are many the tensor cores are. */
interface Gemm {
    /** A row's bits depend neither on how many rows there are nor on what is in them. */
    CudaLaunch linear(CudaOp.Linear op);
}

/**
 * The CUDA backend: records programs as lists of kernel launches, runs them eagerly or as captured graphs.
 *
 * <ul>
 * <li>{@link io.millrace.kernels.cuda.CudaBackend} is the backend.
 * </ul>
 * From ops to launches: {@code CudaRecorder} checks each op and keeps it as a {@code CudaOp}; {@code Fusion} lets neighbours take each other
 * along; {@code LaunchList} makes launches of what is left, with all parameters in place; {@code CudaProgram} runs them. All that changes from
 * step to step is read from device memory ({@code CudaBatches}), so launches differ in their grids alone.
 *
 * <p>Threading: a backend is used by one thread at a time, which need not be the same one. Must not know models, tokens or requests. Nothing
 * here is loaded before a CUDA backend is asked for.
 */
package io.millrace.kernels.cuda;

/**
 * NVIDIA's driver interface (libcuda) behind one Java interface, and what goes with it. Knows C headers; must not know models or batches.
 *
 * <ul>
 * <li>{@link io.millrace.bindings.cuda.CudaDriver} is all of it: the cold half {@link io.millrace.bindings.cuda.CudaDevices} and the hot half
 *     {@link io.millrace.bindings.cuda.CudaWork}; {@link io.millrace.bindings.cuda.CudaDrivers} opens one of its three implementations.
 * <li>{@link io.millrace.bindings.cuda.KernelLaunch} is one launch, prepared in native memory.
 * <li>{@link io.millrace.bindings.cuda.CublasLt} prepares matrix {@link io.millrace.bindings.cuda.Matmul products}, whose fastest algorithms
 *     {@link io.millrace.bindings.cuda.MatmulTimings} finds and keeps; {@link io.millrace.bindings.cuda.Nvml} reads a device's load, power and clocks.
 * <li>{@link io.millrace.bindings.cuda.CudaException} is how every failure arrives, by {@link io.millrace.bindings.cuda.CudaFault kind}.
 * </ul>
 * Nothing here is loaded before CUDA is asked for. Threading: any thread may call a driver; calls work on the context that is current for
 * the calling thread, see {@link io.millrace.bindings.cuda.CudaDevices#setCurrent}.
 */
package io.millrace.bindings.cuda;

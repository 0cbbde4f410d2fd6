/**
 * The native CPU backend: records programs as arrays of {@code mr_op} and hands them to a native thread team, one call per step.
 *
 * <ul>
 * <li>{@link io.millrace.kernels.cpu.NativeCpuBackend} is the backend.
 * <li>{@link io.millrace.kernels.cpu.CpuInfo} tells what the machine has and which instruction set is used.
 * <li>{@link io.millrace.kernels.cpu.CpuIsa} names the instruction sets that the kernels are compiled for.
 * </ul>
 * Threading: a backend is used by one thread at a time; its workers are native threads that never enter the virtual machine. Must not
 * know models, tokens or requests.
 */
package io.millrace.kernels.cpu;

/**
 * Foreign libraries behind thin facades: our own CPU kernels today. Knows C headers; must not know models or batches.
 *
 * <ul>
 * <li>{@link io.millrace.bindings.NativeLibrary} finds and loads a library; a failure is data until something needs the library.
 * <li>{@link io.millrace.bindings.CpuKernels} is the facade over {@code millrace_cpu.h}; the generated layer below it is
 *     {@code io.millrace.bindings.cpu.generated}.
 * </ul>
 * Threading: everything here may be called from any thread; what a native object allows is said where it is made.
 */
package io.millrace.bindings;

package io.millrace.bindings.cuda;

/**
 * The driver interface of one process. Handles (contexts, modules, functions, streams, events, graphs) are opaque numbers, valid only with
 * the driver that made them; device addresses are plain 64-bit addresses, the same for all drivers.
 *
 * <p>Whoever makes an object destroys it. Every method throws {@link CudaException} for what the driver reports; asynchronous failures of a
 * kernel arrive at a later call on the same context, as on any CUDA program.
 */
public interface CudaDriver extends CudaDevices, CudaWork {
    /** {@code mixed}, {@code ffm} or {@code jcuda}. */
    String name();

    /**
     * The first failure that has poisoned a context, or null. From then on nothing that the context computed may be served: only a new
     * process gets a working one.
     */
    CudaException poison();
}

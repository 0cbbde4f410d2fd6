package io.millrace.kernels.cuda;

import io.millrace.bindings.cuda.CudaWork;
import io.millrace.bindings.cuda.KernelLaunch;
import io.millrace.kernels.Extent;

/** One launch of a program: its parameters are in place, its grid follows from a step's counts. Allocates nothing. */
@FunctionalInterface
interface CudaLaunch {
    /** Enqueues it, unless the step has no work for it. */
    void enqueue(CudaWork driver, StepCounts counts);

    /** A grid of {@code (rows, y)}. */
    static CudaLaunch ofRows(KernelLaunch launch, Extent extent, int y) {
        return (driver, counts) -> {
            int rows = counts.rows(extent);
            if (rows > 0) {
                driver.launch(launch.grid(rows, y, 1));
            }
        };
    }
}

package io.millrace.bindings.cuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.concurrent.atomic.AtomicReference;

/** Turns the statuses of one driver into exceptions, and keeps the first that has poisoned a context. Any thread. */
final class CudaErrors {
    /** The functions that are called here: cuLaunchKernelEx and its attributes are of CUDA 12.0. What the kernels need is theirs to say. */
    private static final int MIN_DRIVER_VERSION = 12000;

    private final AtomicReference<CudaException> poison = new AtomicReference<>();

    void check(String call, int status) {
        if (status != 0) {
            throw failure(call, status, null);
        }
    }

    /** For calls that answer whether something is done. */
    boolean ready(String call, int status) {
        if (status == CudaStatus.NOT_READY) {
            return false;
        }
        check(call, status);
        return true;
    }

    CudaException failure(String call, int status, String detail) {
        CudaException failure = CudaException.of(call, status, Names.of(status), detail);
        if (failure.poisoned()) {
            poison.compareAndSet(null, failure);
        }
        return failure;
    }

    /** @param version as cuDriverGetVersion has it, 12020 for 12.2 */
    void requireVersion(int version) {
        if (version < MIN_DRIVER_VERSION) {
            throw CudaException.of(CudaFault.DRIVER_TOO_OLD, "cuDriverGetVersion", "the driver is for CUDA " + version / 1000 + "." + version % 1000 / 10
                    + ", older than " + MIN_DRIVER_VERSION / 1000 + "." + MIN_DRIVER_VERSION % 1000 / 10, null);
        }
    }

    /** Null if all is well. */
    CudaException poison() {
        return poison.get();
    }

    /** Nothing that a poisoned context holds can be given back: whoever cleans up then does nothing. */
    boolean canRelease() {
        return poison.get() == null;
    }

    /** CUDA's names of its errors. A class of its own: bound at the first failure. */
    private static final class Names {
        private static final MethodHandle GET_ERROR_NAME = CudaLibrary.bind("cuGetErrorName", JAVA_INT, JAVA_LONG);

        static String of(int status) {
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment out = arena.allocate(ADDRESS);
                int known = (int) GET_ERROR_NAME.invokeExact(status, out.address());
                MemorySegment name = out.get(ADDRESS, 0);
                return known != 0 || name.address() == 0 ? "an unknown error" : name.reinterpret(Long.MAX_VALUE).getString(0);
            } catch (Throwable e) {
                throw CudaLibrary.unexpected(e);
            }
        }
    }
}

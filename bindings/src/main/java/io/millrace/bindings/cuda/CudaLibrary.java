package io.millrace.bindings.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicReference;

/**
 * libcuda itself: one per process, opened before anything that binds its functions. Its functions are bound by hand, not by jextract: which
 * file it is is decided at run time.
 *
 * <p>No downcall is {@code critical}: any of them may wait for a lock that the driver holds while it compiles, frees or waits for the device,
 * and a critical call would make the garbage collector wait with it, for some nanoseconds gained on microseconds.
 */
final class CudaLibrary {
    private static final AtomicReference<CudaLibrary> OPEN = new AtomicReference<>();

    private final String name;
    private final SymbolLookup symbols;

    private CudaLibrary(String name, SymbolLookup symbols) {
        this.name = name;
        this.symbols = symbols;
    }

    /** Loads the library; does nothing if this process has it already. */
    static void open(String name) {
        CudaLibrary open = OPEN.get();
        if (open == null) {
            try {
                // By path also where only the path's library is a libcuda.so.1 by its SONAME: what is loaded later and needs that gets this one.
                open = new CudaLibrary(name, name.contains("/") ? SymbolLookup.libraryLookup(Path.of(name).toAbsolutePath(), Arena.global())
                        : SymbolLookup.libraryLookup(name, Arena.global()));
            } catch (IllegalArgumentException e) {
                throw CudaException.of(CudaFault.NO_DRIVER, "dlopen", "cannot load " + name + ", the library of NVIDIA's driver", e);
            }
            OPEN.compareAndSet(null, open);
            open = OPEN.get();
        }
        if (!open.name.equals(name)) {
            throw new IllegalStateException("CUDA-008: this process has loaded " + open.name + " and cannot load " + name + " beside it");
        }
    }

    /**
     * A function that returns a {@code CUresult}.
     *
     * @throws CudaException of kind {@link CudaFault#DRIVER_TOO_OLD} if the library has none of this name
     */
    static MethodHandle bind(String symbol, MemoryLayout... arguments) {
        CudaLibrary library = OPEN.get();
        MemorySegment address = library.symbols.find(symbol).orElseThrow(() -> CudaException.of(CudaFault.DRIVER_TOO_OLD, symbol,
                library.name + " has no function " + symbol, null));
        return Linker.nativeLinker().downcallHandle(address, FunctionDescriptor.of(JAVA_INT, arguments));
    }

    /** What a downcall threw, to be thrown on. */
    static RuntimeException unexpected(Throwable e) {
        if (e instanceof RuntimeException unchecked) {
            return unchecked;
        }
        if (e instanceof Error error) {
            throw error;
        }
        return new IllegalStateException("a downcall has no checked exceptions", e);
    }

    /** The address of host memory that the driver is to read or write. */
    static long address(MemorySegment host, long bytes) {
        if (!host.isNative() || bytes < 0 || bytes > host.byteSize()) {
            throw new IllegalArgumentException("CUDA-008: " + bytes + " bytes of " + (host.isNative() ? "native" : "heap") + " memory of "
                    + host.byteSize() + " bytes: only native memory can be copied, within its bounds");
        }
        return host.address();
    }
}

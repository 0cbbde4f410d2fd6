package io.millrace.bindings.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;
import java.util.List;

/**
 * cuBLASLt, through the foreign function interface: a handle, from which {@link Matmul products} are prepared. It works on the current context
 * and on streams of any {@link CudaDriver}. Any thread.
 */
public final class CublasLt implements AutoCloseable {
    /** Names another file than {@link #LIBRARIES}. */
    public static final String LIBRARY_PROPERTY = "millrace.cublaslt.library";
    /** As the dynamic linker finds them; the first is taken. */
    public static final List<String> LIBRARIES = List.of("libcublasLt.so.13", "libcublasLt.so.12");

    private static final int ALLOCATION_FAILED = 3;
    private static final int ARCHITECTURE_MISMATCH = 8;
    private static final int EXECUTION_FAILED = 13;

    final Functions functions;
    private long handle;

    private CublasLt(Functions functions) {
        this.functions = functions;
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            check("cublasLtCreate", (int) functions.create.invokeExact(out.address()));
            handle = out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw CudaLibrary.unexpected(e);
        }
    }

    /** @throws CudaException of kind {@link CudaFault#NO_CUBLASLT} where there is none */
    public static CublasLt open() {
        String chosen = System.getProperty(LIBRARY_PROPERTY);
        return open(chosen == null ? LIBRARIES : List.of(chosen));
    }

    /** @param libraries paths, or names that the dynamic linker finds */
    public static CublasLt open(List<String> libraries) {
        for (String library : libraries) {
            SymbolLookup symbols;
            try {
                symbols = library.contains("/") ? SymbolLookup.libraryLookup(Path.of(library), Arena.global())
                        : SymbolLookup.libraryLookup(library, Arena.global());
            } catch (IllegalArgumentException absent) {
                continue;
            }
            return new CublasLt(new Functions(library, symbols));
        }
        throw CudaException.of(CudaFault.NO_CUBLASLT, "dlopen", "cannot load " + String.join(" or ", libraries), null);
    }

    /** 130002 for 13.0.2. */
    public long version() {
        try {
            return (long) functions.version.invokeExact();
        } catch (Throwable e) {
            throw CudaLibrary.unexpected(e);
        }
    }

    long handle() {
        return handle;
    }

    @Override
    public void close() {
        if (handle != 0) {
            long closing = handle;
            handle = 0;
            try {
                check("cublasLtDestroy", (int) functions.destroy.invokeExact(closing));
            } catch (Throwable e) {
                throw CudaLibrary.unexpected(e);
            }
        }
    }

    /** By the numbers of {@code cublasStatus_t}. */
    static void check(String call, int status) {
        if (status == 0) {
            return;
        }
        CudaFault fault = switch (status) {
            case ALLOCATION_FAILED -> CudaFault.OUT_OF_MEMORY;
            case ARCHITECTURE_MISMATCH -> CudaFault.NO_KERNEL_IMAGE;
            case EXECUTION_FAILED -> CudaFault.POISONED;
            default -> CudaFault.DEFECT;
        };
        throw CudaException.of(fault, call, call + " failed with cuBLAS status " + status, null);
    }

    /** The functions of one library. A class of instance fields: a test opens another library than a server. */
    static final class Functions {
        final MethodHandle create;
        final MethodHandle destroy;
        final MethodHandle version;
        final MethodHandle descCreate;
        final MethodHandle descDestroy;
        final MethodHandle descSet;
        final MethodHandle layoutCreate;
        final MethodHandle layoutDestroy;
        final MethodHandle preferenceCreate;
        final MethodHandle preferenceDestroy;
        final MethodHandle preferenceSet;
        final MethodHandle heuristic;
        final MethodHandle algorithmCheck;
        final MethodHandle matmul;

        private final String library;
        private final SymbolLookup symbols;

        private Functions(String library, SymbolLookup symbols) {
            this.library = library;
            this.symbols = symbols;
            create = bind("cublasLtCreate", JAVA_LONG);
            destroy = bind("cublasLtDestroy", JAVA_LONG);
            version = Linker.nativeLinker().downcallHandle(find("cublasLtGetVersion"), FunctionDescriptor.of(JAVA_LONG));
            descCreate = bind("cublasLtMatmulDescCreate", JAVA_LONG, JAVA_INT, JAVA_INT);
            descDestroy = bind("cublasLtMatmulDescDestroy", JAVA_LONG);
            descSet = bind("cublasLtMatmulDescSetAttribute", JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_LONG);
            layoutCreate = bind("cublasLtMatrixLayoutCreate", JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG);
            layoutDestroy = bind("cublasLtMatrixLayoutDestroy", JAVA_LONG);
            preferenceCreate = bind("cublasLtMatmulPreferenceCreate", JAVA_LONG);
            preferenceDestroy = bind("cublasLtMatmulPreferenceDestroy", JAVA_LONG);
            preferenceSet = bind("cublasLtMatmulPreferenceSetAttribute", JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_LONG);
            heuristic = bind("cublasLtMatmulAlgoGetHeuristic", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_INT,
                    JAVA_LONG, JAVA_LONG);
            algorithmCheck = bind("cublasLtMatmulAlgoCheck", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
            matmul = bind("cublasLtMatmul", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG,
                    JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
        }

        private MemorySegment find(String symbol) {
            return symbols.find(symbol).orElseThrow(() -> CudaException.of(CudaFault.NO_CUBLASLT, symbol, library + " has no function " + symbol, null));
        }

        private MethodHandle bind(String symbol, MemoryLayout... arguments) {
            return Linker.nativeLinker().downcallHandle(find(symbol), FunctionDescriptor.of(JAVA_INT, arguments));
        }
    }
}

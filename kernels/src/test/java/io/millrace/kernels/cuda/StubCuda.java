package io.millrace.kernels.cuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.millrace.kernels.ToolRun;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The stub libcuda in {@code src/test/cuda/stub}: a driver without a device, which runs the emulated kernels. Built at first use, with make and
 * a C++ compiler; {@link #missing()} says why there is none. One per process, for all drivers and all tests in it, so tests that use
 * it do not run side by side; each begins with {@link #reset()}.
 *
 * <p>The system property {@code millrace.cuda.stub=checked} takes the build that finds races as well, which is slower.
 */
public final class StubCuda {
    /** What the stub takes for a module, also where no CUDA compiler has made one. */
    public static final MemorySegment IMAGE = MemorySegment.ofArray("// the emulated kernels\0".getBytes(StandardCharsets.US_ASCII));

    private StubCuda() {}

    private static final class Built {
        static final String MISSING;
        static final Path LIBRARY;

        static {
            Path module = ToolRun.MODULE.getFileName().toString().equals("kernels") ? ToolRun.MODULE : ToolRun.MODULE.resolveSibling("kernels");
            Path sources = module.resolve("src/test/cuda");
            String target = System.getProperty("millrace.cuda.stub", "fast").equals("checked") ? "stub-checked" : "stub";
            if (!Files.isDirectory(sources)) {
                MISSING = "no sources of the stub in " + sources;
            } else if (!ToolRun.onPath("c++") || !ToolRun.onPath("make")) {
                MISSING = "no c++ or no make on the PATH";
            } else {
                ToolRun built = ToolRun.of(sources, "make", "--silent", "-j2", "BUILD=../../../target/cuda-emulation", target);
                if (built.status() != 0) {
                    throw new IllegalStateException("the stub libcuda does not build:\n" + built.text());
                }
                MISSING = null;
            }
            LIBRARY = module.resolve("target/cuda-emulation").resolve(target).resolve("libcuda.so.1");
        }
    }

    private static final class Handles {
        static final MethodHandle RESET = handle("mr_stub_reset", FunctionDescriptor.ofVoid());
        static final MethodHandle SET = handle("mr_stub_set", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG));
        static final MethodHandle GET = handle("mr_stub_get", FunctionDescriptor.of(JAVA_LONG, ADDRESS));
        static final MethodHandle LAST_FAULT = handle("mr_stub_last_fault", FunctionDescriptor.of(ADDRESS));

        private static MethodHandle handle(String name, FunctionDescriptor type) {
            SymbolLookup library = SymbolLookup.libraryLookup(Built.LIBRARY, Arena.global());
            return Linker.nativeLinker().downcallHandle(library.find(name).orElseThrow(), type);
        }
    }

    /** Why there is no stub; null if there is one. A stub that does not build is an error, not a reason to skip. */
    public static String missing() {
        return Built.MISSING;
    }

    public static String library() {
        return Built.LIBRARY.toString();
    }

    /** A stand-in that lies beside the library: {@code libcublasLt.so.13}, {@code libnvidia-ml.so.1}. */
    public static String companion(String fileName) {
        return Built.LIBRARY.resolveSibling(fileName).toString();
    }

    /** Everything as after loading: no memory, streams or faults; settings as the environment has them. */
    public static void reset() {
        try {
            Handles.RESET.invokeExact();
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    /** A setting, see {@code settings.h}. */
    public static void set(String name, long value) {
        try (Arena arena = Arena.ofConfined()) {
            if ((int) Handles.SET.invokeExact(arena.allocateFrom(name), value) != 0) {
                throw new IllegalArgumentException("the stub has no setting " + name);
            }
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    /** A setting or a counter, see {@code settings.h}. */
    public static long get(String name) {
        try (Arena arena = Arena.ofConfined()) {
            long value = (long) Handles.GET.invokeExact(arena.allocateFrom(name));
            if (value < 0) {
                throw new IllegalArgumentException("the stub has no setting or counter " + name);
            }
            return value;
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    /** What the first fault of a kernel was, in words; empty if there was none. */
    public static String lastFault() {
        try {
            return ((MemorySegment) Handles.LAST_FAULT.invokeExact()).reinterpret(Long.MAX_VALUE).getString(0);
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }
}

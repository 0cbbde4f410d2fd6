package io.millrace.bindings.cuda;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;

/**
 * One product, prepared: descriptors, layouts and the algorithm. cuBLASLt is column-major; read so, the row-major {@code weight[N, K]} is
 * its A (K x N, transposed), {@code x[M, K]} its B (K x M), {@code out[M, N]} its D (N x M), and a bias of length N runs along D's columns as
 * its epilogue wants it.
 *
 * <p>{@link #run} enqueues one call and allocates nothing; it may be captured. Not safe for threads. Owns native memory until {@link #close}.
 */
public final class Matmul implements AutoCloseable {
    /** {@code cublasLtMatmulAlgo_t}: plain data, which may be kept in a file. */
    static final int ALGORITHM_BYTES = 64;
    private static final int RESULT_BYTES = 96;
    private static final int RESULT_WORKSPACE = 64;
    private static final int RESULT_STATUS = 72;

    private static final int REAL_32F = 0;
    private static final int REAL_16BF = 14;
    private static final int COMPUTE_32F = 68;
    private static final int OPERATION_TRANSPOSED = 1;
    private static final int DESC_TRANSPOSE_A = 3;
    private static final int DESC_EPILOGUE = 7;
    private static final int DESC_BIAS_POINTER = 8;
    private static final int EPILOGUE_BIAS = 4;
    private static final int PREFERENCE_MAX_WORKSPACE = 1;

    private final Arena arena = Arena.ofShared();
    private final CublasLt library;
    private final MethodHandle matmul;
    private final MatmulShape shape;
    private final long workspaceBytes;
    private final MemorySegment alpha;
    private final MemorySegment beta;
    private final MemorySegment algorithm;
    private long desc;
    private long weightLayout;
    private long xLayout;
    private long outLayout;

    /**
     * The algorithm is the library's first choice.
     *
     * @param workspaceBytes what {@link #run} may use; 32 MiB are usual. One workspace per stream
     * @param bias           device address, 0 if the shape has none
     * @throws CudaException if the library has no algorithm for the shape
     */
    public Matmul(CublasLt library, MatmulShape shape, long workspaceBytes, long bias) {
        if (shape.bias() != (bias != 0)) {
            throw new IllegalArgumentException("CUDA-008: a bias where the shape has none, or the other way round");
        }
        this.library = library;
        this.shape = shape;
        this.workspaceBytes = workspaceBytes;
        matmul = library.functions.matmul;
        alpha = arena.allocateFrom(JAVA_FLOAT, 1);
        beta = arena.allocateFrom(JAVA_FLOAT, shape.accumulate() ? 1 : 0);
        algorithm = arena.allocate(ALGORITHM_BYTES, 8);
        try {
            MemorySegment out = arena.allocate(JAVA_LONG);
            CublasLt.check("cublasLtMatmulDescCreate", (int) library.functions.descCreate.invokeExact(out.address(), COMPUTE_32F, REAL_32F));
            desc = out.get(JAVA_LONG, 0);
            setInt(DESC_TRANSPOSE_A, OPERATION_TRANSPOSED);
            if (bias != 0) {
                setInt(DESC_EPILOGUE, EPILOGUE_BIAS);
                MemorySegment pointer = arena.allocateFrom(JAVA_LONG, bias);
                CublasLt.check("cublasLtMatmulDescSetAttribute",
                        (int) library.functions.descSet.invokeExact(desc, DESC_BIAS_POINTER, pointer.address(), 8L));
            }
            weightLayout = layout(out, REAL_16BF, shape.inFeatures(), shape.outFeatures());
            xLayout = layout(out, REAL_16BF, shape.inFeatures(), shape.rows());
            outLayout = layout(out, shape.floatOut() ? REAL_32F : REAL_16BF, shape.outFeatures(), shape.rows());
            use(candidates(1).getFirst());
        } catch (Throwable e) {
            close();
            throw CudaLibrary.unexpected(e);
        }
    }

    public MatmulShape shape() {
        return shape;
    }

    long workspaceBytes() {
        return workspaceBytes;
    }

    private void setInt(int attribute, int value) throws Throwable {
        CublasLt.check("cublasLtMatmulDescSetAttribute",
                (int) library.functions.descSet.invokeExact(desc, attribute, arena.allocateFrom(JAVA_INT, value).address(), 4L));
    }

    private long layout(MemorySegment out, int type, long rows, long cols) throws Throwable {
        CublasLt.check("cublasLtMatrixLayoutCreate", (int) library.functions.layoutCreate.invokeExact(out.address(), type, rows, cols, rows));
        return out.get(JAVA_LONG, 0);
    }

    /** Algorithms that the library proposes for this product and workspace, its favourite first; at least one. */
    List<byte[]> candidates(int most) {
        try (Arena scratch = Arena.ofConfined()) {
            MemorySegment out = scratch.allocate(JAVA_LONG);
            CublasLt.check("cublasLtMatmulPreferenceCreate", (int) library.functions.preferenceCreate.invokeExact(out.address()));
            long preference = out.get(JAVA_LONG, 0);
            try {
                MemorySegment limit = scratch.allocateFrom(JAVA_LONG, workspaceBytes);
                CublasLt.check("cublasLtMatmulPreferenceSetAttribute",
                        (int) library.functions.preferenceSet.invokeExact(preference, PREFERENCE_MAX_WORKSPACE, limit.address(), 8L));
                MemorySegment results = scratch.allocate((long) most * RESULT_BYTES, 8);
                MemorySegment found = scratch.allocate(JAVA_INT);
                CublasLt.check("cublasLtMatmulAlgoGetHeuristic", (int) library.functions.heuristic.invokeExact(library.handle(), desc, weightLayout,
                        xLayout, outLayout, outLayout, preference, most, results.address(), found.address()));
                List<byte[]> all = new ArrayList<>();
                for (int i = 0; i < found.get(JAVA_INT, 0); i++) {
                    MemorySegment result = results.asSlice((long) i * RESULT_BYTES, RESULT_BYTES);
                    if (result.get(JAVA_INT, RESULT_STATUS) == 0 && result.get(JAVA_LONG, RESULT_WORKSPACE) <= workspaceBytes) {
                        all.add(result.asSlice(0, ALGORITHM_BYTES).toArray(JAVA_BYTE));
                    }
                }
                if (all.isEmpty()) {
                    throw CudaException.of(CudaFault.DEFECT, "cublasLtMatmulAlgoGetHeuristic", "cuBLASLt has no algorithm for " + shape + " in "
                            + workspaceBytes + " bytes", null);
                }
                return all;
            } finally {
                int ignored = (int) library.functions.preferenceDestroy.invokeExact(preference);
            }
        } catch (Throwable e) {
            throw CudaLibrary.unexpected(e);
        }
    }

    /** Whether the library takes an algorithm, say from a file, for this product and workspace. */
    boolean accepts(byte[] candidate) {
        try (Arena scratch = Arena.ofConfined()) {
            MemorySegment result = scratch.allocate(RESULT_BYTES, 8);
            MemorySegment blob = scratch.allocate(ALGORITHM_BYTES, 8).copyFrom(MemorySegment.ofArray(candidate));
            int status = (int) library.functions.algorithmCheck.invokeExact(library.handle(), desc, weightLayout, xLayout, outLayout, outLayout,
                    blob.address(), result.address());
            return status == 0 && result.get(JAVA_INT, RESULT_STATUS) == 0 && result.get(JAVA_LONG, RESULT_WORKSPACE) <= workspaceBytes;
        } catch (Throwable e) {
            throw CudaLibrary.unexpected(e);
        }
    }

    void use(byte[] candidate) {
        algorithm.copyFrom(MemorySegment.ofArray(candidate));
    }

    /** Enqueues the product. All are device addresses; the workspace has {@code workspaceBytes}. */
    public void run(long weight, long x, long out, long workspace, long stream) {
        int status;
        try {
            status = (int) matmul.invokeExact(library.handle(), desc, alpha.address(), weight, weightLayout, x, xLayout, beta.address(), out, outLayout,
                    out, outLayout, algorithm.address(), workspace, workspaceBytes, stream);
        } catch (Throwable e) {
            throw CudaLibrary.unexpected(e);
        }
        CublasLt.check("cublasLtMatmul", status);
    }

    @Override
    public void close() {
        try {
            for (long layout : new long[] {weightLayout, xLayout, outLayout}) {
                if (layout != 0) {
                    int ignored = (int) library.functions.layoutDestroy.invokeExact(layout);
                }
            }
            if (desc != 0) {
                int ignored = (int) library.functions.descDestroy.invokeExact(desc);
            }
        } catch (Throwable e) {
            throw CudaLibrary.unexpected(e);
        }
        weightLayout = 0;
        xLayout = 0;
        outLayout = 0;
        desc = 0;
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }
}

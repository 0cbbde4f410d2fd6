package io.millrace.kernels.cuda;

import io.millrace.bindings.cuda.KernelLaunch;
import io.millrace.bindings.cuda.generated.mr_linear_params;
import io.millrace.kernels.DType;
import io.millrace.kernels.Extent;
import io.millrace.kernels.cuda.CudaOp.Epilogue;
import java.lang.foreign.Arena;

/**
 * Products by the kernels of {@code linear.cu}: blocks of 8, 16, 32 or 64 rows, the fewest that hold all; beyond 64 rows the weight is read once
 * for each 64 of them. All variants give the same bits.
 */
final class SkinnyGemm implements Gemm {
    private static final int[] TILES = {8, 16, 32, 64};
    /** Output features of a block, by tile; half of it where gate and up come in pairs. */
    private static final int[] OUTPUTS = {16, 16, 32, 32};

    private final CudaKernels kernels;
    private final CudaBatches batches;
    private final Arena arena;
    private final long stream;

    SkinnyGemm(CudaKernels kernels, CudaBatches batches, Arena arena, long stream) {
        this.kernels = kernels;
        this.batches = batches;
        this.arena = arena;
        this.stream = stream;
    }

    @Override
    public CudaLaunch linear(CudaOp.Linear op) {
        boolean gated = op.epilogue() == Epilogue.SILU || op.epilogue() == Epilogue.GELU;
        // Columns that only fill up the output are products with rows of zeros. Logits are not filled up.
        int outputs = op.out().dtype() == DType.F32 ? Math.toIntExact(op.out().cols()) : Widths.padded(op.out().cols());
        KernelLaunch[] launches = new KernelLaunch[TILES.length];
        int[] gridX = new int[TILES.length];
        for (int i = 0; i < TILES.length; i++) {
            CudaKernel kernel = CudaKernel.valueOf("LINEAR_" + op.epilogue() + "_" + TILES[i]);
            launches[i] = kernels.launch(arena, kernel, mr_linear_params.sizeof(), stream);
            var p = launches[i].parameters();
            mr_linear_params.x(p, op.x().data());
            mr_linear_params.weight(p, LaunchList.pointer(op.weight().address()));
            mr_linear_params.bias(p, LaunchList.pointer(op.bias()));
            mr_linear_params.out(p, op.out().data());
            mr_linear_params.rows(p, LaunchList.rows(batches, op.out().extent()));
            mr_linear_params.in_features(p, op.weight().stride());
            mr_linear_params.out_features(p, outputs);
            mr_linear_params.soft_cap(p, op.softCap());
            gridX[i] = Math.ceilDiv(outputs, gated ? OUTPUTS[i] / 2 : OUTPUTS[i]);
        }
        Extent extent = op.out().extent();
        return (driver, counts) -> {
            int rows = counts.rows(extent);
            if (rows > 0) {
                int i = rows <= 8 ? 0 : rows <= 16 ? 1 : rows <= 32 ? 2 : 3;
                driver.launch(launches[i].grid(gridX[i], Math.ceilDiv(rows, TILES[i]), 1));
            }
        };
    }
}

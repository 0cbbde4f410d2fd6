package io.millrace.kernels.cuda;

import io.millrace.kernels.Tensor;
import io.millrace.kernels.cuda.CudaOp.Add;
import io.millrace.kernels.cuda.CudaOp.Epilogue;
import io.millrace.kernels.cuda.CudaOp.Gate;
import io.millrace.kernels.cuda.CudaOp.Linear;
import io.millrace.kernels.cuda.CudaOp.Norm;
import io.millrace.kernels.cuda.CudaOp.SoftCap;
import java.util.ArrayList;
import java.util.List;

/**
 * Lets a product do what comes right after it, where nobody else reads its output:
 *
 * <pre>
 *   linear -> delta, addRmsNorm(residual, delta)    linear adds to residual, then the norm alone
 *   linear -> delta, add(residual, delta)           linear adds to residual
 *   linear -> gateUp, swiglu(gateUp -> out)         linear of pairs of rows -> out
 *   linear -> logits, softCap(logits)               linear with a cap
 * </pre>
 * A sum that is added in the product's epilogue is rounded once, not twice. The same program always fuses alike, so a row's bits are the same in
 * every step.
 */
final class Fusion {
    private Fusion() {}

    static List<CudaOp> fuse(List<CudaOp> ops) {
        List<CudaOp> out = new ArrayList<>();
        for (int i = 0; i < ops.size(); i++) {
            CudaOp next = i + 1 < ops.size() ? ops.get(i + 1) : null;
            boolean fused = false;
            if (ops.get(i) instanceof Linear linear && next != null) {
                boolean free = !readLater(ops, i + 2, linear.out());
                switch (next) {
                    case Norm norm when norm.delta() != null && same(norm.delta(), linear.out()) && addsTo(linear, norm.residual())
                            && (free || same(norm.out(), linear.out())) -> {
                        out.add(with(linear, norm.residual(), Epilogue.ADD, 0));
                        out.add(new Norm(norm.residual(), null, norm.weight(), norm.eps(), norm.out()));
                        fused = true;
                    }
                    case Add add when same(add.delta(), linear.out()) && addsTo(linear, add.residual()) && free -> {
                        out.add(with(linear, add.residual(), Epilogue.ADD, 0));
                        fused = true;
                    }
                    // The two halves of the weight begin at whole vectors of the output.
                    case Gate gate when same(gate.gateUp(), linear.out()) && free && gate.out().cols() % 8 == 0 && !same(gate.out(), linear.x()) -> {
                        out.add(with(linear, gate.out(), gate.gelu() ? Epilogue.GELU : Epilogue.SILU, 0));
                        fused = true;
                    }
                    case SoftCap cap when same(cap.x(), linear.out()) -> {
                        out.add(with(linear, linear.out(), Epilogue.LOGITS, cap.cap()));
                        fused = true;
                    }
                    default -> { }
                }
            }
            if (fused) {
                i++;
            } else {
                out.add(ops.get(i));
            }
        }
        return List.copyOf(out);
    }

    private static boolean addsTo(Linear linear, Tensor residual) {
        return linear.epilogue() == Epilogue.STORE && !same(linear.x(), residual);
    }

    private static Linear with(Linear linear, Tensor out, Epilogue epilogue, float softCap) {
        return new Linear(linear.x(), linear.weight(), linear.bias(), out, epilogue, softCap);
    }

    /** Whether an op from {@code first} on uses what is in {@code tensor} now. */
    private static boolean readLater(List<CudaOp> ops, int first, Tensor tensor) {
        for (CudaOp op : ops.subList(Math.min(first, ops.size()), ops.size())) {
            if (op.reads().stream().anyMatch(read -> same(read, tensor))) {
                return true;
            }
            if (op.overwrites().stream().anyMatch(written -> same(written, tensor))) {
                return false;
            }
        }
        return false;
    }

    private static boolean same(Tensor a, Tensor b) {
        return a.data().address() == b.data().address();
    }
}

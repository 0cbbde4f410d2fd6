package io.millrace.kernels.cuda;

import io.millrace.kernels.AttentionShape;
import io.millrace.kernels.QkNorm;
import io.millrace.kernels.Rope;
import io.millrace.kernels.Tensor;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;

/** A recorded operation, checked, before {@link Fusion} and {@link LaunchList} have seen it. */
sealed interface CudaOp {
    /** Activations whose content it uses. */
    List<Tensor> reads();

    /** Activations that hold nothing of what was in them before. */
    List<Tensor> overwrites();

    /** What becomes of the sums of a product. */
    enum Epilogue { STORE, ADD, LOGITS, SILU, GELU }

    record Embed(CudaWeight table, float scale, Tensor out) implements CudaOp {
        @Override
        public List<Tensor> reads() {
            return List.of();
        }

        @Override
        public List<Tensor> overwrites() {
            return List.of(out);
        }
    }

    /** @param delta null: the residual is only normalised */
    record Norm(Tensor residual, Tensor delta, Tensor weight, float eps, Tensor out) implements CudaOp {
        @Override
        public List<Tensor> reads() {
            return present(residual, delta);
        }

        @Override
        public List<Tensor> overwrites() {
            return List.of(out);
        }
    }

    record Add(Tensor residual, Tensor delta) implements CudaOp {
        @Override
        public List<Tensor> reads() {
            return List.of(residual, delta);
        }

        @Override
        public List<Tensor> overwrites() {
            return List.of();
        }
    }

    /** @param bias may be null; @param softCap of logits, 0: none */
    record Linear(Tensor x, CudaWeight weight, Tensor bias, Tensor out, Epilogue epilogue, float softCap) implements CudaOp {
        @Override
        public List<Tensor> reads() {
            return epilogue == Epilogue.ADD ? List.of(x, out) : List.of(x);
        }

        @Override
        public List<Tensor> overwrites() {
            return epilogue == Epilogue.ADD ? List.of() : List.of(out);
        }
    }

    record RopeAndCache(Tensor qkv, QkNorm norm, Rope rope, AttentionShape shape, CudaKvCache cache, int layer) implements CudaOp {
        @Override
        public List<Tensor> reads() {
            return List.of(qkv);
        }

        @Override
        public List<Tensor> overwrites() {
            return List.of();
        }
    }

    record Attention(Tensor qkv, AttentionShape shape, Tensor sinks, CudaKvCache cache, int layer, Tensor out) implements CudaOp {
        @Override
        public List<Tensor> reads() {
            return List.of(qkv);
        }

        @Override
        public List<Tensor> overwrites() {
            return List.of(out);
        }
    }

    record Gate(Tensor gateUp, Tensor out, boolean gelu) implements CudaOp {
        @Override
        public List<Tensor> reads() {
            return List.of(gateUp);
        }

        @Override
        public List<Tensor> overwrites() {
            return List.of(out);
        }
    }

    record SoftCap(Tensor x, float cap) implements CudaOp {
        @Override
        public List<Tensor> reads() {
            return List.of(x);
        }

        @Override
        public List<Tensor> overwrites() {
            return List.of();
        }
    }

    record Gather(Tensor x, Tensor out) implements CudaOp {
        @Override
        public List<Tensor> reads() {
            return List.of(x);
        }

        @Override
        public List<Tensor> overwrites() {
            return List.of(out);
        }
    }

    record Sample(Tensor logits) implements CudaOp {
        @Override
        public List<Tensor> reads() {
            return List.of(logits);
        }

        @Override
        public List<Tensor> overwrites() {
            return List.of();
        }
    }

    private static List<Tensor> present(Tensor... tensors) {
        return Stream.of(tensors).filter(Objects::nonNull).toList();
    }
}

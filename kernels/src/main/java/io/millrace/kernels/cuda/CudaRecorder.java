package io.millrace.kernels.cuda;

import io.millrace.kernels.AttentionShape;
import io.millrace.kernels.DType;
import io.millrace.kernels.KvCache;
import io.millrace.kernels.OpChecks;
import io.millrace.kernels.Ops;
import io.millrace.kernels.QkNorm;
import io.millrace.kernels.Rope;
import io.millrace.kernels.Tensor;
import io.millrace.kernels.Weight;
import io.millrace.kernels.cuda.CudaOp.Epilogue;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/** Checks each call and keeps it. */
final class CudaRecorder implements Ops {
    /** What the widest kernel takes. */
    private static final int MAX_NORM_COLS = 16384;
    private static final int MAX_ROTATED_HEAD = 256;

    final List<String> names = new ArrayList<>();
    final List<CudaOp> ops = new ArrayList<>();
    private final CudaBackend owner;
    private final MemorySegment.Scope scope;

    CudaRecorder(CudaBackend owner, MemorySegment.Scope scope) {
        this.owner = owner;
        this.scope = scope;
    }

    @Override
    public void embed(Weight table, float scale, Tensor out) {
        OpChecks.embed(table, scale, out);
        owned("embed", out);
        CudaWeight own = own("embed", table);
        halves("embed", out);
        add("embed", new CudaOp.Embed(own, scale, out));
    }

    @Override
    public void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out) {
        OpChecks.rmsNorm(x, weight, eps, out);
        owned("rmsNorm", x, weight, out);
        norm("rmsNorm", x, null, weight, eps, out);
    }

    @Override
    public void addRmsNorm(Tensor residual, Tensor delta, Tensor weight, float eps, Tensor out) {
        OpChecks.addRmsNorm(residual, delta, weight, eps, out);
        owned("addRmsNorm", residual, delta, weight, out);
        norm("addRmsNorm", residual, delta, weight, eps, out);
    }

    private void norm(String op, Tensor residual, Tensor delta, Tensor weight, float eps, Tensor out) {
        halves(op, residual, out);
        if (residual.cols() > MAX_NORM_COLS) {
            throw OpChecks.noKernel(owner.name(), op, residual.cols() + " columns", "up to " + MAX_NORM_COLS + " are served");
        }
        add(op, new CudaOp.Norm(residual, delta, weight, eps, out));
    }

    @Override
    public void add(Tensor residual, Tensor delta) {
        OpChecks.add(residual, delta);
        owned("add", residual, delta);
        halves("add", residual, delta);
        add("add", new CudaOp.Add(residual, delta));
    }

    @Override
    public void linear(Tensor x, Weight weight, Tensor bias, Tensor out) {
        OpChecks.linear(x, weight, bias, out);
        owned("linear", x, bias, out);
        CudaWeight own = own("linear", weight);
        halves("linear", x);
        add("linear", new CudaOp.Linear(x, own, bias, out, out.dtype() == DType.F32 ? Epilogue.LOGITS : Epilogue.STORE, 0));
    }

    @Override
    public void ropeAndCache(Tensor qkv, QkNorm norm, Rope rope, AttentionShape shape, KvCache cache, int layer) {
        OpChecks.ropeAndCache(qkv, norm, rope, shape, cache, layer);
        owned("ropeAndCache", qkv, rope.cos(), rope.sin(), norm == null ? null : norm.query(), norm == null ? null : norm.key());
        CudaKvCache own = own("ropeAndCache", cache);
        halves("ropeAndCache", qkv);
        Widths.requireRotation(shape, rope.rotaryDim(), rope.interleaved());
        if (shape.headDim() > MAX_ROTATED_HEAD) {
            throw OpChecks.noKernel(owner.name(), "ropeAndCache", "heads of " + shape.headDim(), "up to " + MAX_ROTATED_HEAD + " are served");
        }
        add("ropeAndCache", new CudaOp.RopeAndCache(qkv, norm, rope, shape, own, layer));
    }

    @Override
    public void attention(Tensor qkv, AttentionShape shape, Tensor sinks, KvCache cache, int layer, Tensor out) {
        OpChecks.attention(qkv, shape, sinks, cache, layer, out);
        owned("attention", qkv, sinks, out);
        CudaKvCache own = own("attention", cache);
        halves("attention", qkv, out);
        add("attention", new CudaOp.Attention(qkv, shape, sinks, own, layer, out));
    }

    @Override
    public void swiglu(Tensor gateUp, Tensor out) {
        gated("swiglu", gateUp, out, false);
    }

    @Override
    public void geglu(Tensor gateUp, Tensor out) {
        gated("geglu", gateUp, out, true);
    }

    private void gated(String op, Tensor gateUp, Tensor out, boolean gelu) {
        OpChecks.gated(op, gateUp, out);
        owned(op, gateUp, out);
        halves(op, gateUp, out);
        add(op, new CudaOp.Gate(gateUp, out, gelu));
    }

    @Override
    public void softCap(Tensor x, float cap) {
        OpChecks.softCap(x, cap);
        owned("softCap", x);
        add("softCap", new CudaOp.SoftCap(x, cap));
    }

    @Override
    public void gatherLogitRows(Tensor x, Tensor out) {
        OpChecks.gatherLogitRows(x, out);
        owned("gatherLogitRows", x, out);
        halves("gatherLogitRows", x, out);
        add("gatherLogitRows", new CudaOp.Gather(x, out));
    }

    @Override
    public void sample(Tensor logits) {
        OpChecks.sample(logits);
        owned("sample", logits);
        add("sample", new CudaOp.Sample(logits));
    }

    private void add(String name, CudaOp op) {
        names.add(name);
        ops.add(op);
    }

    private void owned(String op, Tensor... tensors) {
        OpChecks.owned(op, scope, owner.name(), tensors);
    }

    /** Only a linear writes floats, and only softCap and sample read them. */
    private void halves(String op, Tensor... tensors) {
        for (Tensor tensor : tensors) {
            if (tensor.dtype() != DType.BF16) {
                throw OpChecks.noKernel(owner.name(), op, "the logits " + tensor.name(), "make its activations with activations()");
            }
        }
    }

    private CudaWeight own(String op, Weight weight) {
        if (weight instanceof CudaWeight own && own.owner() == owner) {
            return own;
        }
        throw OpChecks.foreign(op, "weight " + weight.name(), weight, owner.name());
    }

    private CudaKvCache own(String op, KvCache cache) {
        if (cache instanceof CudaKvCache own && own.owner() == owner) {
            return own;
        }
        throw OpChecks.foreign(op, "cache", cache, owner.name());
    }
}

package io.millrace.kernels.reference;

import io.millrace.kernels.AttentionShape;
import io.millrace.kernels.KvCache;
import io.millrace.kernels.OpChecks;
import io.millrace.kernels.Ops;
import io.millrace.kernels.QkNorm;
import io.millrace.kernels.Rope;
import io.millrace.kernels.Tensor;
import io.millrace.kernels.Weight;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/** Checks the arguments of each call and keeps it as a step to run. Scratch memory is allocated here, once, not at replay. */
final class ReferenceRecorder implements Ops {
    final List<String> names = new ArrayList<>();
    final List<Runnable> steps = new ArrayList<>();
    private final MemorySegment.Scope scope;
    private final StepSlots slots;
    private final ReferenceOps ops;

    /** @param scope lifetime of everything that the backend made */
    ReferenceRecorder(StepSlots slots, MemorySegment.Scope scope) {
        this.scope = scope;
        this.slots = slots;
        this.ops = new ReferenceOps(slots);
    }

    @Override
    public void embed(Weight table, float scale, Tensor out) {
        OpChecks.embed(table, scale, out);
        owned("embed", out);
        ReferenceWeight own = own("embed", table);
        add("embed", () -> ops.embed(own, scale, out));
    }

    @Override
    public void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out) {
        OpChecks.rmsNorm(x, weight, eps, out);
        owned("rmsNorm", x, weight, out);
        add("rmsNorm", () -> ops.rmsNorm(x, weight, eps, out));
    }

    @Override
    public void addRmsNorm(Tensor residual, Tensor delta, Tensor weight, float eps, Tensor out) {
        OpChecks.addRmsNorm(residual, delta, weight, eps, out);
        owned("addRmsNorm", residual, delta, weight, out);
        add("addRmsNorm", () -> {
            ops.add(residual, delta);
            ops.rmsNorm(residual, weight, eps, out);
        });
    }

    @Override
    public void add(Tensor residual, Tensor delta) {
        OpChecks.add(residual, delta);
        owned("add", residual, delta);
        add("add", () -> ops.add(residual, delta));
    }

    @Override
    public void linear(Tensor x, Weight weight, Tensor bias, Tensor out) {
        OpChecks.linear(x, weight, bias, out);
        owned("linear", x, bias, out);
        ReferenceWeight own = own("linear", weight);
        double[] weightRow = new double[Math.toIntExact(weight.inFeatures())];
        add("linear", () -> ops.linear(x, own, bias, out, weightRow));
    }

    @Override
    public void ropeAndCache(Tensor qkv, QkNorm norm, Rope rope, AttentionShape shape, KvCache cache, int layer) {
        OpChecks.ropeAndCache(qkv, norm, rope, shape, cache, layer);
        owned("ropeAndCache", qkv, rope.cos(), rope.sin(), norm == null ? null : norm.query(), norm == null ? null : norm.key());
        ReferenceKvCache own = own("ropeAndCache", cache);
        float[] vector = new float[shape.headDim()];
        add("ropeAndCache", () -> ops.ropeAndCache(qkv, norm, rope, shape, own, layer, vector));
    }

    @Override
    public void attention(Tensor qkv, AttentionShape shape, Tensor sinks, KvCache cache, int layer, Tensor out) {
        OpChecks.attention(qkv, shape, sinks, cache, layer, out);
        owned("attention", qkv, sinks, out);
        ReferenceKvCache own = own("attention", cache);
        double[] scores = new double[slots.now.maxBlocksPerSequence() * cache.shape().blockSize()];
        double[] sum = new double[shape.headDim()];
        add("attention", () -> ops.attention(qkv, shape, sinks, own, layer, out, scores, sum));
    }

    @Override
    public void swiglu(Tensor gateUp, Tensor out) {
        OpChecks.gated("swiglu", gateUp, out);
        owned("swiglu", gateUp, out);
        add("swiglu", () -> ops.swiglu(gateUp, out));
    }

    @Override
    public void geglu(Tensor gateUp, Tensor out) {
        OpChecks.gated("geglu", gateUp, out);
        owned("geglu", gateUp, out);
        add("geglu", () -> ops.geglu(gateUp, out));
    }

    @Override
    public void softCap(Tensor x, float cap) {
        OpChecks.softCap(x, cap);
        owned("softCap", x);
        add("softCap", () -> ops.softCap(x, cap));
    }

    @Override
    public void gatherLogitRows(Tensor x, Tensor out) {
        OpChecks.gatherLogitRows(x, out);
        owned("gatherLogitRows", x, out);
        add("gatherLogitRows", () -> ops.gatherLogitRows(x, out));
    }

    @Override
    public void sample(Tensor logits) {
        OpChecks.sample(logits);
        owned("sample", logits);
        ReferenceSampler sampler = new ReferenceSampler(slots, Math.toIntExact(logits.cols()));
        add("sample", () -> {
            for (int r = 0; r < slots.now.numLogitRows(); r++) {
                sampler.sample(logits, r);
            }
        });
    }

    private void add(String name, Runnable step) {
        names.add(name);
        steps.add(step);
    }

    private void owned(String op, Tensor... tensors) {
        OpChecks.owned(op, scope, "reference", tensors);
    }

    private ReferenceWeight own(String op, Weight weight) {
        if (weight instanceof ReferenceWeight own && own.data().scope().equals(scope)) {
            return own;
        }
        throw OpChecks.foreign(op, "weight " + weight.name(), weight, "reference");
    }

    private ReferenceKvCache own(String op, KvCache cache) {
        if (cache instanceof ReferenceKvCache own && own.data().scope().equals(scope)) {
            return own;
        }
        throw OpChecks.foreign(op, "cache", cache, "reference");
    }
}

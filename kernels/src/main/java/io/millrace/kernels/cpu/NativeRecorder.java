package io.millrace.kernels.cpu;

import io.millrace.bindings.cpu.generated.MillraceCpu;
import io.millrace.bindings.cpu.generated.mr_add_args;
import io.millrace.bindings.cpu.generated.mr_add_rms_norm_args;
import io.millrace.bindings.cpu.generated.mr_attention_args;
import io.millrace.bindings.cpu.generated.mr_embed_args;
import io.millrace.bindings.cpu.generated.mr_gather_args;
import io.millrace.bindings.cpu.generated.mr_kv_cache;
import io.millrace.bindings.cpu.generated.mr_linear_args;
import io.millrace.bindings.cpu.generated.mr_matrix;
import io.millrace.bindings.cpu.generated.mr_op;
import io.millrace.bindings.cpu.generated.mr_rms_norm_args;
import io.millrace.bindings.cpu.generated.mr_rope_args;
import io.millrace.bindings.cpu.generated.mr_sample_args;
import io.millrace.bindings.cpu.generated.mr_soft_cap_args;
import io.millrace.bindings.cpu.generated.mr_swiglu_args;
import io.millrace.bindings.cpu.generated.mr_weight;
import io.millrace.kernels.AttentionShape;
import io.millrace.kernels.KvCache;
import io.millrace.kernels.OpChecks;
import io.millrace.kernels.Ops;
import io.millrace.kernels.QkNorm;
import io.millrace.kernels.Rope;
import io.millrace.kernels.Tensor;
import io.millrace.kernels.Weight;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/** Checks each call and keeps it as a writer of one {@code mr_op}; {@link #write} lays them out in an array. */
final class NativeRecorder implements Ops {
    private final NativeCpuBackend owner;
    private final MemorySegment.Scope scope;
    private final List<String> names = new ArrayList<>();
    private final List<Consumer<MemorySegment>> writers = new ArrayList<>();

    /** @param scope lifetime of everything that {@code owner} made */
    NativeRecorder(NativeCpuBackend owner, MemorySegment.Scope scope) {
        this.owner = owner;
        this.scope = scope;
    }

    List<String> names() {
        return List.copyOf(names);
    }

    /** The recorded operations as an array of {@code mr_op} in memory of {@code arena}. */
    MemorySegment write(Arena arena) {
        MemorySegment ops = mr_op.allocateArray(Math.max(1, writers.size()), arena);
        for (int i = 0; i < writers.size(); i++) {
            writers.get(i).accept(mr_op.asSlice(ops, i));
        }
        return ops;
    }

    @Override
    public void embed(Weight table, float scale, Tensor out) {
        OpChecks.embed(table, scale, out);
        owned("embed", out);
        NativeWeight weight = own("embed", "table", table);
        add("embed", MillraceCpu.MR_OP_EMBED(), args -> {
            weight(mr_embed_args.table(args), weight);
            matrix(mr_embed_args.out(args), out);
            mr_embed_args.scale(args, scale);
        });
    }

    @Override
    public void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out) {
        OpChecks.rmsNorm(x, weight, eps, out);
        owned("rmsNorm", x, weight, out);
        add("rmsNorm", MillraceCpu.MR_OP_RMS_NORM(), args -> {
            matrix(mr_rms_norm_args.x(args), x);
            mr_rms_norm_args.weight(args, weight.data());
            matrix(mr_rms_norm_args.out(args), out);
            mr_rms_norm_args.eps(args, eps);
        });
    }

    @Override
    public void addRmsNorm(Tensor residual, Tensor delta, Tensor weight, float eps, Tensor out) {
        OpChecks.addRmsNorm(residual, delta, weight, eps, out);
        owned("addRmsNorm", residual, delta, weight, out);
        add("addRmsNorm", MillraceCpu.MR_OP_ADD_RMS_NORM(), args -> {
            matrix(mr_add_rms_norm_args.residual(args), residual);
            matrix(mr_add_rms_norm_args.delta(args), delta);
            mr_add_rms_norm_args.weight(args, weight.data());
            matrix(mr_add_rms_norm_args.out(args), out);
            mr_add_rms_norm_args.eps(args, eps);
        });
    }

    @Override
    public void add(Tensor residual, Tensor delta) {
        OpChecks.add(residual, delta);
        owned("add", residual, delta);
        add("add", MillraceCpu.MR_OP_ADD(), args -> {
            matrix(mr_add_args.residual(args), residual);
            matrix(mr_add_args.delta(args), delta);
        });
    }

    @Override
    public void linear(Tensor x, Weight weight, Tensor bias, Tensor out) {
        OpChecks.linear(x, weight, bias, out);
        owned("linear", x, bias, out);
        NativeWeight own = own("linear", "weight", weight);
        add("linear", MillraceCpu.MR_OP_LINEAR(), args -> {
            matrix(mr_linear_args.x(args), x);
            weight(mr_linear_args.weight(args), own);
            mr_linear_args.bias(args, bias == null ? MemorySegment.NULL : bias.data());
            matrix(mr_linear_args.out(args), out);
        });
    }

    @Override
    public void ropeAndCache(Tensor qkv, QkNorm norm, Rope rope, AttentionShape shape, KvCache cache, int layer) {
        OpChecks.ropeAndCache(qkv, norm, rope, shape, cache, layer);
        owned("ropeAndCache", qkv, rope.cos(), rope.sin(), norm == null ? null : norm.query(), norm == null ? null : norm.key());
        NativeKvCache own = own("ropeAndCache", cache);
        add("ropeAndCache", MillraceCpu.MR_OP_ROPE_AND_CACHE(), args -> {
            matrix(mr_rope_args.qkv(args), qkv);
            mr_rope_args.cosine(args, rope.cos().data());
            mr_rope_args.sine(args, rope.sin().data());
            mr_rope_args.max_positions(args, rope.cos().rows());
            cache(mr_rope_args.cache(args), own);
            mr_rope_args.rotary_dim(args, rope.rotaryDim());
            mr_rope_args.num_heads(args, shape.numHeads());
            mr_rope_args.layer(args, layer);
            mr_rope_args.interleaved(args, rope.interleaved() ? 1 : 0);
            mr_rope_args.query_norm(args, norm == null ? MemorySegment.NULL : norm.query().data());
            mr_rope_args.key_norm(args, norm == null ? MemorySegment.NULL : norm.key().data());
            mr_rope_args.norm_eps(args, norm == null ? 0 : norm.eps());
        });
    }

    @Override
    public void attention(Tensor qkv, AttentionShape shape, Tensor sinks, KvCache cache, int layer, Tensor out) {
        OpChecks.attention(qkv, shape, sinks, cache, layer, out);
        owned("attention", qkv, sinks, out);
        NativeKvCache own = own("attention", cache);
        add("attention", MillraceCpu.MR_OP_ATTENTION(), args -> {
            matrix(mr_attention_args.qkv(args), qkv);
            matrix(mr_attention_args.out(args), out);
            cache(mr_attention_args.cache(args), own);
            mr_attention_args.num_heads(args, shape.numHeads());
            mr_attention_args.layer(args, layer);
            mr_attention_args.scale(args, shape.scale());
            mr_attention_args.soft_cap(args, shape.softCap());
            mr_attention_args.sinks(args, sinks == null ? MemorySegment.NULL : sinks.data());
            mr_attention_args.window(args, shape.slidingWindow());
            mr_attention_args.bf16_products(args, owner.bf16Products() ? 1 : 0);
        });
    }

    @Override
    public void swiglu(Tensor gateUp, Tensor out) {
        gated("swiglu", MillraceCpu.MR_OP_SWIGLU(), gateUp, out);
    }

    @Override
    public void geglu(Tensor gateUp, Tensor out) {
        gated("geglu", MillraceCpu.MR_OP_GEGLU(), gateUp, out);
    }

    private void gated(String op, int kind, Tensor gateUp, Tensor out) {
        OpChecks.gated(op, gateUp, out);
        owned(op, gateUp, out);
        add(op, kind, args -> {
            matrix(mr_swiglu_args.gate_up(args), gateUp);
            matrix(mr_swiglu_args.out(args), out);
        });
    }

    @Override
    public void softCap(Tensor x, float cap) {
        OpChecks.softCap(x, cap);
        owned("softCap", x);
        add("softCap", MillraceCpu.MR_OP_SOFT_CAP(), args -> {
            matrix(mr_soft_cap_args.x(args), x);
            mr_soft_cap_args.cap(args, cap);
        });
    }

    @Override
    public void gatherLogitRows(Tensor x, Tensor out) {
        OpChecks.gatherLogitRows(x, out);
        owned("gatherLogitRows", x, out);
        add("gatherLogitRows", MillraceCpu.MR_OP_GATHER_LOGIT_ROWS(), args -> {
            matrix(mr_gather_args.x(args), x);
            matrix(mr_gather_args.out(args), out);
        });
    }

    @Override
    public void sample(Tensor logits) {
        OpChecks.sample(logits);
        owned("sample", logits);
        add("sample", MillraceCpu.MR_OP_SAMPLE(), args -> matrix(mr_sample_args.logits(args), logits));
    }

    private void add(String name, int kind, Consumer<MemorySegment> arguments) {
        names.add(name);
        writers.add(op -> {
            mr_op.kind(op, kind);
            // Every member of the union starts where the union does.
            arguments.accept(mr_op.args(op));
        });
    }

    private static void matrix(MemorySegment at, Tensor tensor) {
        mr_matrix.data(at, tensor.data());
        mr_matrix.rows(at, tensor.rows());
        mr_matrix.cols(at, tensor.cols());
        mr_matrix.extent(at, tensor.extent().ordinal());
    }

    private static void weight(MemorySegment at, NativeWeight weight) {
        MemorySegment.copy(weight.chain(), 0, at, 0, mr_weight.sizeof());
    }

    private static void cache(MemorySegment at, NativeKvCache cache) {
        mr_kv_cache.keys(at, cache.keys());
        mr_kv_cache.values(at, cache.values());
        mr_kv_cache.num_layers(at, cache.shape().numLayers());
        mr_kv_cache.num_blocks(at, cache.shape().numBlocks());
        mr_kv_cache.block_size(at, cache.shape().blockSize());
        mr_kv_cache.num_kv_heads(at, cache.shape().numKvHeads());
        mr_kv_cache.head_dim(at, cache.shape().headDim());
        mr_kv_cache.dtype(at, cache.shape().dtype().nativeCode());
    }

    private void owned(String op, Tensor... tensors) {
        OpChecks.owned(op, scope, owner.name(), tensors);
    }

    private NativeWeight own(String op, String argument, Weight weight) {
        if (weight instanceof NativeWeight own && own.owner() == owner) {
            return own;
        }
        throw OpChecks.foreign(op, argument + " " + weight.name(), weight, owner.name());
    }

    private NativeKvCache own(String op, KvCache cache) {
        if (cache instanceof NativeKvCache own && own.owner() == owner) {
            return own;
        }
        throw OpChecks.foreign(op, "cache", cache, owner.name());
    }
}

package io.millrace.kernels;

import java.lang.foreign.MemorySegment;

/**
 * The argument rules of {@link Ops}, shared by all backends so that a wrong call is refused with the same words everywhere. They
 * run while a program is recorded; replay checks nothing. Every failure is an {@link IllegalArgumentException} that starts with a
 * stable code and names the operation, the tensors and their shapes:
 *
 * <ul>
 * <li>{@code OP-001} shapes do not fit together
 * <li>{@code OP-002} the extents (what sets the row count) do not fit together
 * <li>{@code OP-003} an element type the operation does not take
 * <li>{@code OP-004} an output overlaps an input that is still being read
 * <li>{@code OP-005} an object made by another backend
 * <li>{@code OP-006} a scalar argument out of range
 * <li>{@code OP-007} a weight that cannot be quantised as asked ({@link Quantizer})
 * <li>{@code OP-008} shapes that are sound, and for which this backend has no kernel
 * </ul>
 */
public final class OpChecks {
    private static final long MAX_CONSTANT_COLS = 1L << 28;

    private OpChecks() {}

    /** Rows that a tensor of {@code extent} must be able to hold; FIXED has no capacity of its own. */
    public static long capacity(String name, Extent extent, BatchLimits limits) {
        return switch (extent) {
            case TOKENS -> limits.maxTokens();
            case LOGIT_ROWS -> limits.maxLogitRows();
            case FIXED -> throw fail("OP-002", "activations " + name, "extent must be TOKENS or LOGIT_ROWS, got FIXED; use constant() for"
                    + " tensors whose row count never changes");
        };
    }

    /** Activations {@code name}: a positive width. */
    public static void activations(String name, long cols) {
        if (cols <= 0) {
            throw fail("OP-001", "activations " + name, "cols must be positive, got " + cols);
        }
    }

    /** A constant's values fill {@code [rows, cols]} exactly. */
    public static void constant(String name, long rows, long cols, float[] values) {
        constant(name, rows, cols);
        if (rows * cols != values.length) {
            throw fail("OP-001", "constant " + name, "[" + rows + ", " + cols + "] needs " + rows * cols + " values, got " + values.length);
        }
    }

    /** A constant's sizes, positive and countable. */
    public static void constant(String name, long rows, long cols) {
        if (rows <= 0 || cols <= 0 || cols > MAX_CONSTANT_COLS || rows > Long.MAX_VALUE / 8 / cols) {
            throw fail("OP-001", "constant " + name, "[" + rows + ", " + cols + "] must have at least one row, and 1 to " + MAX_CONSTANT_COLS
                    + " cols");
        }
    }

    /** The parts of one weight: at least one, all of the same width; formats may differ. */
    public static void parts(String name, WeightPart... parts) {
        if (parts.length == 0) {
            throw fail("OP-001", "weight " + name, "needs at least one part");
        }
        WeightPart first = parts[0];
        for (WeightPart part : parts) {
            if (part.format() == DType.I32) {
                throw fail("OP-003", "weight " + name, "part " + part.name() + " is I32; weights are F32, F16, BF16 or quantised");
            }
            if (part.rows() <= 0 || part.cols() <= 0) {
                throw fail("OP-001", "weight " + name, "part " + part.name() + " is empty: [" + part.rows() + ", " + part.cols() + "]");
            }
            if (part.cols() != first.cols()) {
                throw fail("OP-001", "weight " + name, "parts differ: " + first.name() + " has " + first.cols() + " cols of "
                        + first.format().name() + ", " + part.name() + " has " + part.cols() + " of " + part.format().name());
            }
        }
    }

    /** A KV cache of positive sizes. */
    public static void kvCache(KvCacheShape shape) {
        if (shape.numLayers() <= 0 || shape.numBlocks() <= 0 || shape.blockSize() <= 0 || shape.numKvHeads() <= 0 || shape.headDim() <= 0
                || shape.headDim() % 2 != 0) {
            throw fail("OP-001", "kvCache", "sizes must be positive and headDim even: " + shape);
        }
    }

    public static void embed(Weight table, float scale, Tensor out) {
        activation("embed", "out", out);
        extent("embed", "out", out, Extent.TOKENS);
        finite("embed", "scale", scale);
        if (table.inFeatures() != out.cols()) {
            throw fail("OP-001", "embed", "table " + describe(table) + " and out " + describe(out) + " differ in width");
        }
    }

    public static void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out) {
        sameShape("rmsNorm", "x", x, "out", out);
        row("rmsNorm", "weight", weight, x.cols());
        epsilon("rmsNorm", eps);
        if (x.data().address() != out.data().address()) {
            disjoint("rmsNorm", "x", x, "out", out);
        }
    }

    public static void addRmsNorm(Tensor residual, Tensor delta, Tensor weight, float eps, Tensor out) {
        sameShape("addRmsNorm", "residual", residual, "delta", delta);
        sameShape("addRmsNorm", "residual", residual, "out", out);
        row("addRmsNorm", "weight", weight, residual.cols());
        epsilon("addRmsNorm", eps);
        disjoint("addRmsNorm", "residual", residual, "delta", delta);
        disjoint("addRmsNorm", "residual", residual, "out", out);
        if (delta.data().address() != out.data().address()) {
            disjoint("addRmsNorm", "delta", delta, "out", out);
        }
    }

    public static void add(Tensor residual, Tensor delta) {
        sameShape("add", "residual", residual, "delta", delta);
        disjoint("add", "residual", residual, "delta", delta);
    }

    /** @param bias may be null */
    public static void linear(Tensor x, Weight weight, Tensor bias, Tensor out) {
        activation("linear", "x", x);
        activation("linear", "out", out);
        sameExtent("linear", "x", x, "out", out);
        if (x.cols() != weight.inFeatures() || out.cols() != weight.outFeatures()) {
            throw fail("OP-001", "linear", "x " + describe(x) + " times weight " + describe(weight) + " transposed does not give out "
                    + describe(out));
        }
        if (bias != null) {
            row("linear", "bias", bias, weight.outFeatures());
        }
        disjoint("linear", "x", x, "out", out);
    }

    /** @param norm may be null */
    public static void ropeAndCache(Tensor qkv, QkNorm norm, Rope rope, AttentionShape shape, KvCache cache, int layer) {
        qkvAndCache("ropeAndCache", qkv, shape, cache, layer);
        int half = rope.rotaryDim() / 2;
        if (rope.rotaryDim() <= 0 || rope.rotaryDim() % 2 != 0 || rope.rotaryDim() > shape.headDim()) {
            throw fail("OP-006", "ropeAndCache", "rotaryDim must be even and in [2, headDim " + shape.headDim() + "], got " + rope.rotaryDim());
        }
        constantTensor("ropeAndCache", "rope.cos", rope.cos());
        constantTensor("ropeAndCache", "rope.sin", rope.sin());
        if (rope.cos().cols() != half || rope.sin().cols() != half || rope.cos().rows() != rope.sin().rows()) {
            throw fail("OP-001", "ropeAndCache", "rope tables must be [positions, rotaryDim/2 = " + half + "], got cos " + describe(rope.cos())
                    + " and sin " + describe(rope.sin()));
        }
        if (norm != null) {
            row("ropeAndCache", "norm.query", norm.query(), shape.headDim());
            row("ropeAndCache", "norm.key", norm.key(), shape.headDim());
            epsilon("ropeAndCache", norm.eps());
        }
    }

    /** @param sinks may be null */
    public static void attention(Tensor qkv, AttentionShape shape, Tensor sinks, KvCache cache, int layer, Tensor out) {
        qkvAndCache("attention", qkv, shape, cache, layer);
        activation("attention", "out", out);
        extent("attention", "out", out, Extent.TOKENS);
        finite("attention", "scale", shape.scale());
        if (out.cols() != shape.queryCols()) {
            throw fail("OP-001", "attention", "out " + describe(out) + " must have heads * headDim = " + shape.queryCols() + " cols for " + shape);
        }
        if (sinks != null) {
            row("attention", "sinks", sinks, shape.numHeads());
        }
        disjoint("attention", "qkv", qkv, "out", out);
    }

    /** @param op {@code swiglu} or {@code geglu} */
    public static void gated(String op, Tensor gateUp, Tensor out) {
        activation(op, "gateUp", gateUp);
        activation(op, "out", out);
        sameExtent(op, "gateUp", gateUp, "out", out);
        if (gateUp.cols() != 2 * out.cols()) {
            throw fail("OP-001", op, "gateUp " + describe(gateUp) + " must be twice as wide as out " + describe(out));
        }
        disjoint(op, "gateUp", gateUp, "out", out);
    }

    public static void softCap(Tensor x, float cap) {
        floats("softCap", "x", x);
        if (!(cap > 0) || Float.isInfinite(cap)) {
            throw fail("OP-006", "softCap", "cap must be finite and above 0, got " + cap);
        }
    }

    public static void gatherLogitRows(Tensor x, Tensor out) {
        activation("gatherLogitRows", "x", x);
        activation("gatherLogitRows", "out", out);
        extent("gatherLogitRows", "x", x, Extent.TOKENS);
        extent("gatherLogitRows", "out", out, Extent.LOGIT_ROWS);
        if (x.cols() != out.cols()) {
            throw fail("OP-001", "gatherLogitRows", "x " + describe(x) + " and out " + describe(out) + " differ in width");
        }
        disjoint("gatherLogitRows", "x", x, "out", out);
    }

    public static void sample(Tensor logits) {
        floats("sample", "logits", logits);
        extent("sample", "logits", logits, Extent.LOGIT_ROWS);
        if (logits.cols() > Integer.MAX_VALUE - 64) {
            throw fail("OP-001", "sample", "logits " + describe(logits) + " is wider than an int token id");
        }
    }

    /** What a backend throws when it is asked for BF16 products and has none. */
    public static IllegalArgumentException noBf16Products(String backend, String reason) {
        return new IllegalArgumentException("BE-004: the backend " + backend + " has no bfloat16 products: " + reason
                + "; use --dtype auto, which takes what there is, or float32");
    }

    /** What a backend throws when it is asked for exact products and has none. */
    public static IllegalArgumentException noExactProducts(String backend, String reason) {
        return new IllegalArgumentException("BE-004: the backend " + backend + " has no exact products: " + reason + "; use --dtype auto or bfloat16");
    }

    /** What a backend throws for sound arguments that it has no kernel for. */
    public static IllegalArgumentException noKernel(String backend, String op, String what, String remedy) {
        return fail("OP-008", op, "the " + backend + " backend has no kernel for " + what + "; " + remedy);
    }

    /** What a backend throws once it is closed. */
    public static IllegalStateException closed(String backend) {
        return new IllegalStateException("BE-002: this " + backend + " backend is closed; make a new one");
    }

    /** Refuses tensors whose memory another backend owns: with that backend closed, a replay would read what is no longer there. */
    public static void owned(String op, MemorySegment.Scope scope, String backend, Tensor... tensors) {
        for (Tensor tensor : tensors) {
            if (tensor != null && !tensor.data().scope().equals(scope)) {
                throw foreign(op, "tensor " + tensor.name(), tensor, backend);
            }
        }
    }

    /** What a backend throws when it is handed {@code argument} that it did not make. */
    public static IllegalArgumentException foreign(String op, String argument, Object value, String backend) {
        return fail("OP-005", op, argument + " (" + value.getClass().getSimpleName() + ") was not made by this " + backend
                + " backend; make it with the backend that runs the program");
    }

    private static void qkvAndCache(String op, Tensor qkv, AttentionShape shape, KvCache cache, int layer) {
        activation(op, "qkv", qkv);
        extent(op, "qkv", qkv, Extent.TOKENS);
        if (qkv.cols() != shape.qkvCols()) {
            throw fail("OP-001", op, "qkv " + describe(qkv) + " must have (heads + 2 * kvHeads) * headDim = " + shape.qkvCols() + " cols for "
                    + shape);
        }
        KvCacheShape kv = cache.shape();
        if (kv.numKvHeads() != shape.numKvHeads() || kv.headDim() != shape.headDim()) {
            throw fail("OP-001", op, "cache " + kv + " does not hold the keys of " + shape);
        }
        if (layer < 0 || layer >= kv.numLayers()) {
            throw fail("OP-006", op, "layer " + layer + " is not in [0, " + kv.numLayers() + ")");
        }
    }

    private static void sameShape(String op, String nameA, Tensor a, String nameB, Tensor b) {
        activation(op, nameA, a);
        activation(op, nameB, b);
        sameExtent(op, nameA, a, nameB, b);
        if (a.cols() != b.cols()) {
            throw fail("OP-001", op, nameA + " " + describe(a) + " and " + nameB + " " + describe(b) + " differ in width");
        }
    }

    private static void activation(String op, String name, Tensor t) {
        if (t.dtype() != DType.F32 && t.dtype() != DType.BF16) {
            throw fail("OP-003", op, name + " " + describe(t) + " must be F32 or BF16");
        }
    }

    /** What {@link Ops} works on in floats everywhere. */
    private static void floats(String op, String name, Tensor t) {
        if (t.dtype() != DType.F32) {
            throw fail("OP-003", op, name + " " + describe(t) + " must be F32; make it with logits() or constant()");
        }
    }

    private static void constantTensor(String op, String name, Tensor t) {
        extent(op, name, t, Extent.FIXED);
        floats(op, name, t);
    }

    private static void row(String op, String name, Tensor t, long cols) {
        constantTensor(op, name, t);
        if (t.rows() != 1 || t.cols() != cols) {
            throw fail("OP-001", op, name + " " + describe(t) + " must be [1, " + cols + "]");
        }
    }

    private static void extent(String op, String name, Tensor t, Extent expected) {
        if (t.extent() != expected) {
            throw fail("OP-002", op, name + " " + describe(t) + " must have extent " + expected);
        }
    }

    private static void sameExtent(String op, String nameA, Tensor a, String nameB, Tensor b) {
        if (a.extent() != b.extent() || a.rows() != b.rows()) {
            throw fail("OP-002", op, nameA + " " + describe(a) + " and " + nameB + " " + describe(b) + " must have the same rows and extent");
        }
    }

    private static void disjoint(String op, String nameA, Tensor a, String nameB, Tensor b) {
        if (a.data().asOverlappingSlice(b.data()).isPresent()) {
            throw fail("OP-004", op, nameA + " " + describe(a) + " and " + nameB + " " + describe(b) + " overlap in memory");
        }
    }

    private static void epsilon(String op, float eps) {
        if (!(eps >= 0) || Float.isInfinite(eps)) {
            throw fail("OP-006", op, "eps must be finite and >= 0, got " + eps);
        }
    }

    private static void finite(String op, String name, float value) {
        if (!Float.isFinite(value)) {
            throw fail("OP-006", op, name + " must be finite, got " + value);
        }
    }

    private static String describe(Tensor t) {
        return t.name() + " [" + t.rows() + " " + t.extent() + ", " + t.cols() + "] " + t.dtype();
    }

    private static String describe(Weight w) {
        return w.name() + " [" + w.outFeatures() + ", " + w.inFeatures() + "] "
                + String.join("+", w.formats().stream().map(WeightFormat::name).toList());
    }

    private static IllegalArgumentException fail(String code, String op, String message) {
        return new IllegalArgumentException(code + ": " + op + ": " + message);
    }
}

package io.millrace.engine.model;

import io.millrace.engine.model.DecoderDesign.LayerAttention;
import io.millrace.engine.model.WeightBinder.Part;
import io.millrace.kernels.AttentionShape;
import io.millrace.kernels.Backend;
import io.millrace.kernels.DType;
import io.millrace.kernels.Extent;
import io.millrace.kernels.KvCache;
import io.millrace.kernels.KvCacheShape;
import io.millrace.kernels.KvCacheType;
import io.millrace.kernels.Ops;
import io.millrace.kernels.QkNorm;
import io.millrace.kernels.Rope;
import io.millrace.kernels.Tensor;
import io.millrace.kernels.Weight;
import io.millrace.kernels.WeightFormat;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;

/**
 * The pre-norm decoder: RMSNorm, rotary positions, grouped-query attention and a gated MLP, after Llama (arXiv 2302.13971, 2307.09288,
 * 2407.21783), with everything that {@link DecoderDesign} can say of Mistral (2310.06825), Qwen 2 and 3 (2407.10671, 2505.09388), Gemma 1 to
 * 3 (2403.08295, 2408.00118, 2503.19786), Phi-3 (2404.14219), Granite and SmolLM. The forward pass has no other knowledge of them.
 */
final class DecoderFamily implements ModelFamily {
    @Override
    public double activationBytes(ModelConfig c, long tokens, long logitRows) {
        double perToken = 3.0 * c.hiddenSize() + (2.0 * c.numHeads() + 2.0 * c.numKvHeads()) * c.headDim() + 3.0 * c.intermediateSize();
        return DType.F32.bytes() * (tokens * perToken + logitRows * (3.0 * c.hiddenSize() + c.vocabSize()));
    }

    @Override
    public DecoderModel bind(ModelConfig config, WeightBinder weights, int maxPositions) {
        return new Model(config, weights, maxPositions);
    }

    /** Norm weights F32 {@code [1, cols]}; biases, head norms and post-norms are null where the model has none. */
    private record Layer(AttentionShape shape, Rope rope, QkNorm headNorm, Tensor attentionNorm, Weight qkv, Tensor qkvBias, Weight out,
            Tensor outBias, Tensor postAttentionNorm, Tensor mlpNorm, Weight gateUp, Tensor gateUpBias, Weight down, Tensor downBias,
            Tensor postMlpNorm) {
        static Layer bind(ModelConfig c, WeightBinder w, AttentionShape a, Rope rope, int index) {
            DecoderDesign d = c.design();
            String layer = "model.layers." + index + ".";
            String attention = layer + "self_attn.";
            String mlp = layer + "mlp.";
            int hidden = c.hiddenSize();
            int inner = c.intermediateSize();
            double offset = d.normsFromOne() ? 1 : 0;
            Part[] qkv = d.fusedProjections() ? new Part[] {new Part(attention + "qkv_proj", a.qkvCols(), hidden)}
                    : new Part[] {new Part(attention + "q_proj", a.queryCols(), hidden), new Part(attention + "k_proj", a.kvCols(), hidden),
                            new Part(attention + "v_proj", a.kvCols(), hidden)};
            Part[] gateUp = d.fusedProjections() ? new Part[] {new Part(mlp + "gate_up_proj", 2L * inner, hidden)}
                    : new Part[] {new Part(mlp + "gate_proj", inner, hidden), new Part(mlp + "up_proj", inner, hidden)};
            Part out = new Part(attention + "o_proj", hidden, a.queryCols());
            Part down = new Part(mlp + "down_proj", hidden, inner);
            return new Layer(a, rope,
                    !d.qkNorm() ? null : new QkNorm(w.vector(attention + "q_norm.weight", c.headDim(), offset, 1),
                            w.vector(attention + "k_norm.weight", c.headDim(), offset, 1), c.normEps()),
                    w.vector(layer + "input_layernorm.weight", hidden, offset, 1),
                    w.projection(attention + "qkv", qkv), d.qkvBias() ? w.bias(attention + "qkv", qkv) : null,
                    w.projection(attention + "o_proj", out), d.outBias() ? w.bias(attention + "o_proj", out) : null,
                    d.postNorms() ? w.vector(layer + "post_attention_layernorm.weight", hidden, offset, 1) : null,
                    w.vector(layer + (d.postNorms() ? "pre_feedforward_layernorm.weight" : "post_attention_layernorm.weight"), hidden, offset, 1),
                    w.projection(mlp + "gate_up", gateUp), d.mlpBias() ? w.bias(mlp + "gate_up", gateUp) : null,
                    w.projection(mlp + "down_proj", down), d.mlpBias() ? w.bias(mlp + "down_proj", down) : null,
                    d.postNorms() ? w.vector(layer + "post_feedforward_layernorm.weight", hidden, offset, 1) : null);
        }
    }

    private static final class Model implements DecoderModel {
        private final ModelConfig config;
        private final DecoderDesign design;
        private final Weight embedding;
        private final Weight head;
        private final Tensor finalNorm;
        private final List<Layer> layers = new ArrayList<>();
        /** Activations {@code [tokens, cols]}; residual is the running sum, delta what the last block adds to it. */
        private final Tensor residual;
        private final Tensor delta;
        private final Tensor normed;
        private final Tensor qkv;
        private final Tensor attended;
        private final Tensor gateUp;
        private final Tensor gated;
        /** The same for the rows whose logits are wanted, {@code [logitRows, cols]}. */
        private final Tensor lastResidual;
        private final Tensor lastDelta;
        private final Tensor lastNormed;
        private final Tensor logits;

        Model(ModelConfig c, WeightBinder w, int maxPositions) {
            config = c;
            design = c.design();
            int hidden = c.hiddenSize();
            Backend backend = w.backend();
            embedding = w.projection("model.embed_tokens", new Part("model.embed_tokens", c.vocabSize(), hidden));
            Map<RopeConfig, Rope> ropes = new HashMap<>();
            for (int i = 0; i < c.numLayers(); i++) {
                LayerAttention attention = design.layers().get(i);
                // Layers without positions turn by a table of zero angles: two floats a position.
                RopeConfig rope = attention.rope() != null ? attention.rope() : RopeConfig.NONE;
                layers.add(Layer.bind(c, w, new AttentionShape(c.numHeads(), c.numKvHeads(), c.headDim(), (float) design.attentionScale(),
                        (float) design.attentionSoftCap(), attention.slidingWindow() < maxPositions ? attention.slidingWindow() : 0),
                        ropes.computeIfAbsent(rope, r -> r.tables(backend, "rope" + (ropes.isEmpty() ? "" : ropes.size() + 1), maxPositions)), i));
            }
            // Scaling the norm before the head scales the logits.
            finalNorm = w.vector("model.norm.weight", hidden, design.normsFromOne() ? 1 : 0, design.logitScale());
            head = c.tiedEmbeddings() ? embedding : w.projection("lm_head", new Part("lm_head", c.vocabSize(), hidden));
            AttentionShape shape = layers.getFirst().shape();
            residual = backend.activations("residual", Extent.TOKENS, hidden);
            delta = backend.activations("delta", Extent.TOKENS, hidden);
            normed = backend.activations("normed", Extent.TOKENS, hidden);
            qkv = backend.activations("qkv", Extent.TOKENS, shape.qkvCols());
            attended = backend.activations("attended", Extent.TOKENS, shape.queryCols());
            gateUp = backend.activations("gate_up", Extent.TOKENS, 2L * c.intermediateSize());
            gated = backend.activations("gated", Extent.TOKENS, c.intermediateSize());
            lastResidual = backend.activations("last_residual", Extent.LOGIT_ROWS, hidden);
            lastDelta = backend.activations("last_delta", Extent.LOGIT_ROWS, hidden);
            lastNormed = backend.activations("last_normed", Extent.LOGIT_ROWS, hidden);
            logits = backend.logits("logits", c.vocabSize());
        }

        @Override
        public KvCacheShape kvCacheShape(int numBlocks, int blockSize, KvCacheType dtype) {
            return new KvCacheShape(config.numLayers(), numBlocks, blockSize, config.numKvHeads(), config.headDim(), dtype);
        }

        /**
         * Where a model scales what is added to the residual by m, the buffer holds residual / m and takes the sum as it is: the norm does not
         * see a factor if its epsilon is divided by m^2, and the embeddings are divided by m.
         */
        @Override
        public void forward(Ops ops, KvCache cache) {
            double m = design.residualScale();
            float residualEps = (float) (config.normEps() / (m * m));
            ops.embed(embedding, (float) (design.embeddingScale() / m), residual);
            for (int i = 0; i < layers.size(); i++) {
                Layer layer = layers.get(i);
                if (i == 0) {
                    ops.rmsNorm(residual, layer.attentionNorm(), residualEps, normed);
                } else {
                    ops.addRmsNorm(residual, delta, layer.attentionNorm(), residualEps, normed);
                }
                ops.linear(normed, layer.qkv(), layer.qkvBias(), qkv);
                ops.ropeAndCache(qkv, layer.headNorm(), layer.rope(), layer.shape(), cache, i);
                ops.attention(qkv, layer.shape(), cache, i, attended);
                ops.linear(attended, layer.out(), layer.outBias(), delta);
                if (design.postNorms()) {
                    ops.rmsNorm(delta, layer.postAttentionNorm(), config.normEps(), delta);
                }
                ops.addRmsNorm(residual, delta, layer.mlpNorm(), residualEps, normed);
                ops.linear(normed, layer.gateUp(), layer.gateUpBias(), gateUp);
                switch (design.activation()) {
                    case SILU -> ops.swiglu(gateUp, gated);
                    case GELU_TANH -> ops.geglu(gateUp, gated);
                }
                ops.linear(gated, layer.down(), layer.downBias(), delta);
                if (design.postNorms()) {
                    ops.rmsNorm(delta, layer.postMlpNorm(), config.normEps(), delta);
                }
            }
            // Only the rows whose logits are wanted go through the last norm and the head: of a long prompt that is one.
            ops.gatherLogitRows(residual, lastResidual);
            ops.gatherLogitRows(delta, lastDelta);
            ops.addRmsNorm(lastResidual, lastDelta, finalNorm, residualEps, lastNormed);
            ops.linear(lastNormed, head, null, logits);
            if (design.logitSoftCap() > 0) {
                ops.softCap(logits, (float) design.logitSoftCap());
            }
        }

        @Override
        public DType weightType() {
            return layers.getFirst().qkv().dtype();
        }

        @Override
        public Set<WeightFormat> weightFormats() {
            Set<WeightFormat> formats = new LinkedHashSet<>();
            for (Layer layer : layers) {
                Stream.of(layer.qkv(), layer.out(), layer.gateUp(), layer.down()).forEach(weight -> formats.addAll(weight.formats()));
            }
            return formats;
        }

        @Override
        public Tensor logits() {
            return logits;
        }
    }
}

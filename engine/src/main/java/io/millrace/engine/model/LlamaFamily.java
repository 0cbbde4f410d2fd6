package io.millrace.engine.model;

import io.millrace.engine.EngineException;
import io.millrace.engine.model.WeightBinder.Part;
import io.millrace.kernels.AttentionShape;
import io.millrace.kernels.Backend;
import io.millrace.kernels.DType;
import io.millrace.kernels.Extent;
import io.millrace.kernels.KvCache;
import io.millrace.kernels.KvCacheShape;
import io.millrace.kernels.Ops;
import io.millrace.kernels.Rope;
import io.millrace.kernels.Tensor;
import io.millrace.kernels.Weight;
import java.util.ArrayList;
import java.util.List;

/**
 * Llama (arXiv 2302.13971, 2307.09288, 2407.21783): pre-norm decoder with RMSNorm, rotary positions in the halves layout, grouped-query
 * attention and SwiGLU; optional biases on attention and MLP; head tied to the embedding or not.
 */
final class LlamaFamily implements ModelFamily {
    @Override
    public void check(ModelConfig config) {
        if (!config.hiddenAct().equals("silu")) {
            throw new EngineException("MODEL-004", config.file() + ": hidden_act '" + config.hiddenAct() + "' is not supported for "
                    + config.architecture() + "; supported: silu");
        }
    }

    @Override
    public double activationBytes(ModelConfig c, long tokens, long logitRows) {
        double perToken = 3.0 * c.hiddenSize() + (2.0 * c.numHeads() + 2.0 * c.numKvHeads()) * c.headDim() + 3.0 * c.intermediateSize();
        return DType.F32.bytes() * (tokens * perToken + logitRows * (3.0 * c.hiddenSize() + c.vocabSize()));
    }

    @Override
    public DecoderModel bind(ModelConfig config, WeightBinder weights, int maxPositions) {
        return new Model(config, weights, maxPositions);
    }

    /** Norm weights F32 {@code [1, hidden]}; biases null where the model has none. */
    private record Layer(Tensor attentionNorm, Weight qkv, Tensor qkvBias, Weight out, Tensor outBias, Tensor mlpNorm, Weight gateUp,
            Tensor gateUpBias, Weight down, Tensor downBias) {
        static Layer bind(ModelConfig c, WeightBinder w, AttentionShape a, int index) {
            String layer = "model.layers." + index + ".";
            String attention = layer + "self_attn.";
            String mlp = layer + "mlp.";
            int hidden = c.hiddenSize();
            int inner = c.intermediateSize();
            return new Layer(w.vector(layer + "input_layernorm.weight", hidden),
                    w.linear(attention + "qkv", new Part(attention + "q_proj.weight", a.queryCols(), hidden),
                            new Part(attention + "k_proj.weight", a.kvCols(), hidden), new Part(attention + "v_proj.weight", a.kvCols(), hidden)),
                    !c.attentionBias() ? null : w.vectors(attention + "qkv.bias", List.of(new Part(attention + "q_proj.bias", 1, a.queryCols()),
                            new Part(attention + "k_proj.bias", 1, a.kvCols()), new Part(attention + "v_proj.bias", 1, a.kvCols()))),
                    w.linear(attention + "o_proj", new Part(attention + "o_proj.weight", hidden, a.queryCols())),
                    !c.attentionBias() ? null : w.vector(attention + "o_proj.bias", hidden),
                    w.vector(layer + "post_attention_layernorm.weight", hidden),
                    w.linear(mlp + "gate_up", new Part(mlp + "gate_proj.weight", inner, hidden), new Part(mlp + "up_proj.weight", inner, hidden)),
                    !c.mlpBias() ? null : w.vectors(mlp + "gate_up.bias", List.of(new Part(mlp + "gate_proj.bias", 1, inner),
                            new Part(mlp + "up_proj.bias", 1, inner))),
                    w.linear(mlp + "down_proj", new Part(mlp + "down_proj.weight", hidden, inner)),
                    !c.mlpBias() ? null : w.vector(mlp + "down_proj.bias", hidden));
        }
    }

    private static final class Model implements DecoderModel {
        private final ModelConfig config;
        private final AttentionShape shape;
        private final Weight embedding;
        private final Weight head;
        private final Tensor finalNorm;
        private final List<Layer> layers = new ArrayList<>();
        private final Rope rope;
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
            shape = new AttentionShape(c.numHeads(), c.numKvHeads(), c.headDim(), (float) (1 / Math.sqrt(c.headDim())));
            int hidden = c.hiddenSize();
            embedding = w.linear("model.embed_tokens", new Part("model.embed_tokens.weight", c.vocabSize(), hidden));
            for (int i = 0; i < c.numLayers(); i++) {
                layers.add(Layer.bind(c, w, shape, i));
            }
            finalNorm = w.vector("model.norm.weight", hidden);
            head = c.tiedEmbeddings() ? embedding : w.linear("lm_head", new Part("lm_head.weight", c.vocabSize(), hidden));
            Backend backend = w.backend();
            rope = c.rope().tables(backend, maxPositions);
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
            logits = backend.activations("logits", Extent.LOGIT_ROWS, c.vocabSize());
        }

        @Override
        public KvCacheShape kvCacheShape(int numBlocks, int blockSize, DType dtype) {
            return new KvCacheShape(config.numLayers(), numBlocks, blockSize, config.numKvHeads(), config.headDim(), dtype);
        }

        @Override
        public void forward(Ops ops, KvCache cache) {
            float eps = config.normEps();
            ops.embed(embedding, 1f, residual);
            for (int i = 0; i < layers.size(); i++) {
                Layer layer = layers.get(i);
                if (i == 0) {
                    ops.rmsNorm(residual, layer.attentionNorm(), eps, normed);
                } else {
                    ops.addRmsNorm(residual, delta, layer.attentionNorm(), eps, normed);
                }
                ops.linear(normed, layer.qkv(), layer.qkvBias(), qkv);
                ops.ropeAndCache(qkv, rope, shape, cache, i);
                ops.attention(qkv, shape, cache, i, attended);
                ops.linear(attended, layer.out(), layer.outBias(), delta);
                ops.addRmsNorm(residual, delta, layer.mlpNorm(), eps, normed);
                ops.linear(normed, layer.gateUp(), layer.gateUpBias(), gateUp);
                ops.swiglu(gateUp, gated);
                ops.linear(gated, layer.down(), layer.downBias(), delta);
            }
            // Only the rows whose logits are wanted go through the last norm and the head: of a long prompt that is one.
            ops.gatherLogitRows(residual, lastResidual);
            ops.gatherLogitRows(delta, lastDelta);
            ops.addRmsNorm(lastResidual, lastDelta, finalNorm, eps, lastNormed);
            ops.linear(lastNormed, head, null, logits);
        }

        @Override
        public DType weightType() {
            return layers.getFirst().qkv().dtype();
        }

        @Override
        public Tensor logits() {
            return logits;
        }
    }
}

package io.millrace.engine.model;

import java.util.Collections;
import java.util.List;

/**
 * What sets the architectures of {@link DecoderFamily} apart, as facts. The default of everything is Llama.
 *
 * @param activation       of the gate of the MLP
 * @param qkvBias          query, key and value projections have biases
 * @param fusedProjections the checkpoint holds q|k|v and gate|up as one matrix each
 * @param qkNorm           every query and key head is normalised before its rotation
 * @param postNorms        attention and MLP are also normalised before they are added
 * @param normsFromOne     the checkpoint holds norm weights less 1
 * @param attentionScale   multiplied into the scores
 * @param attentionSoftCap scaled scores become {@code cap * tanh(score / cap)}; 0: they stay
 * @param logitSoftCap     the same for logits
 * @param embeddingScale   multiplied into the embeddings
 * @param residualScale    multiplied into what attention and MLP add
 * @param logitScale       multiplied into the logits
 * @param layers           what each layer's attention sees and how it turns
 */
public record DecoderDesign(Activation activation, boolean qkvBias, boolean outBias, boolean mlpBias, boolean fusedProjections, boolean qkNorm,
        boolean postNorms, boolean normsFromOne, double attentionScale, double attentionSoftCap, double logitSoftCap, double embeddingScale,
        double residualScale, double logitScale, List<LayerAttention> layers) {
    /** {@code SILU}: x * sigmoid(x). {@code GELU_TANH}: the tanh approximation of arXiv 1606.08415. */
    public enum Activation { SILU, GELU_TANH }

    /**
     * @param slidingWindow a token sees itself and the {@code slidingWindow - 1} before it; 0: all before it
     * @param rope          null: no positions (arXiv 2305.19466)
     */
    public record LayerAttention(int slidingWindow, RopeConfig rope) {}

    public DecoderDesign {
        layers = List.copyOf(layers);
    }

    /** Collects the facts while a configuration is read; numbers that a file may set are checked by whoever reads it. */
    static final class Builder {
        private Activation activation = Activation.SILU;
        private boolean qkvBias;
        private boolean outBias;
        private boolean mlpBias;
        private boolean fusedProjections;
        private boolean qkNorm;
        private boolean postNorms;
        private boolean normsFromOne;
        private double attentionScale;
        private double attentionSoftCap;
        private double logitSoftCap;
        private double embeddingScale = 1;
        private double residualScale = 1;
        private double logitScale = 1;
        private List<LayerAttention> layers;

        /** Llama: every layer sees everything. */
        Builder(int numLayers, int headDim, RopeConfig rope) {
            attentionScale = 1 / Math.sqrt(headDim);
            layers = Collections.nCopies(numLayers, new LayerAttention(0, rope));
        }

        Builder activation(Activation value) {
            activation = value;
            return this;
        }

        Builder biases(boolean qkv, boolean out, boolean mlp) {
            qkvBias = qkv;
            outBias = out;
            mlpBias = mlp;
            return this;
        }

        Builder fusedProjections() {
            fusedProjections = true;
            return this;
        }

        Builder qkNorm() {
            qkNorm = true;
            return this;
        }

        Builder postNorms() {
            postNorms = true;
            return this;
        }

        Builder normsFromOne() {
            normsFromOne = true;
            return this;
        }

        Builder attentionScale(double value) {
            attentionScale = value;
            return this;
        }

        /** 0: none. */
        Builder softCaps(double attention, double logits) {
            attentionSoftCap = attention;
            logitSoftCap = logits;
            return this;
        }

        Builder scales(double embedding, double residual, double logits) {
            embeddingScale = embedding;
            residualScale = residual;
            logitScale = logits;
            return this;
        }

        Builder layers(List<LayerAttention> value) {
            layers = value;
            return this;
        }

        DecoderDesign build() {
            return new DecoderDesign(activation, qkvBias, outBias, mlpBias, fusedProjections, qkNorm, postNorms, normsFromOne, attentionScale,
                    attentionSoftCap, logitSoftCap, embeddingScale, residualScale, logitScale, layers);
        }
    }
}

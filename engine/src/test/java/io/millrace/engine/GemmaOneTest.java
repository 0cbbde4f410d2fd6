package io.millrace.engine;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.millrace.engine.weights.Checkpoint;
import io.millrace.engine.weights.StoredTensor;
import io.millrace.kernels.DType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Gemma 1, for which there is no golden checkpoint: the weights of a Llama under Gemma's configuration, against a forward pass in double written
 * down here from the architecture's definition (Gemma: Open models based on Gemini research and technology, 2024), one token at a time.
 */
class GemmaOneTest {
    /** Of the logits' spread, as for the golden checkpoints. */
    private static final double TOLERANCE = 2e-4;

    @TempDir
    Path folder;

    private Path checkpoint() throws IOException {
        Path llama = TestData.require("golden/llama-a");
        ObjectNode config = (ObjectNode) TestData.json(llama.resolve("config.json"));
        config.putArray("architectures").add("GemmaForCausalLM");
        config.put("model_type", "gemma").put("hidden_act", "gelu_pytorch_tanh").put("head_dim", 16).put("tie_word_embeddings", true);
        Files.writeString(folder.resolve("config.json"), config.toString());
        Files.copy(llama.resolve("model.safetensors"), folder.resolve("model.safetensors"));
        return folder;
    }

    static Stream<Arguments> cases() {
        return Stream.of("safetensors", "gguf").flatMap(form -> TestBackends.names().map(backend -> Arguments.of(form, backend)));
    }

    /** Property: the logits of every position are the definition's, from both kinds of files, on both backends, whole and in chunks. */
    @ParameterizedTest(name = "{0} {1}")
    @MethodSource("cases")
    void logitsAreTheDefinitions(String form, String backend) throws IOException {
        Path checkpoint = checkpoint();
        Path model = form.equals("gguf") ? GgufConversion.of(checkpoint).removeTensor("output.weight").write(folder.resolve("model.gguf")) : checkpoint;
        int[] ids = TestData.ints(TestData.json(TestData.require("golden/llama-a").resolve("golden.json")).at("/sequences/0/input_ids"));
        double[][] expected = new Definition(checkpoint).logits(ids);
        double spread = spread(expected);
        try (LogitsProbe probe = new LogitsProbe(model, backend, DType.F32, 128)) {
            float[][] whole = probe.logits(ids, ids.length);
            assertThat(probe.logits(ids, 3)).isDeepEqualTo(whole);
            double worst = 0;
            for (int t = 0; t < ids.length; t++) {
                for (int id = 0; id < expected[t].length; id++) {
                    worst = Math.max(worst, Math.abs(whole[t][id] - expected[t][id]) / spread);
                }
            }
            System.out.printf("gemma           %-11s %-9s worst logit error %.1e of the spread%n", form, backend, worst);
            assertThat(worst).isLessThan(TOLERANCE);
        }
    }

    private static double spread(double[][] logits) {
        double sum = 0;
        double squares = 0;
        int count = 0;
        for (double[] row : logits) {
            for (double value : row) {
                sum += value;
                squares += value * value;
                count++;
            }
        }
        return Math.sqrt(squares / count - sum / count * (sum / count));
    }

    /** The architecture in double, without a cache: keys and values of all positions are kept. */
    private static final class Definition {
        private final JsonNode config;
        private final Map<String, double[][]> weights = new HashMap<>();
        private final int heads;
        private final int kvHeads;
        private final int headDim;

        Definition(Path folder) {
            config = TestData.json(folder.resolve("config.json"));
            heads = config.get("num_attention_heads").intValue();
            kvHeads = config.get("num_key_value_heads").intValue();
            headDim = config.get("head_dim").intValue();
            try (Checkpoint checkpoint = Checkpoint.open(folder)) {
                for (String name : checkpoint.names()) {
                    StoredTensor tensor = checkpoint.tensor(name).orElseThrow();
                    int cols = tensor.shape().getLast().intValue();
                    int rows = tensor.shape().size() == 1 ? 1 : tensor.shape().getFirst().intValue();
                    double[][] values = new double[rows][cols];
                    for (int i = 0; i < rows * cols; i++) {
                        values[i / cols][i % cols] = ((DType) tensor.format().orElseThrow()).load(tensor.data(), i);
                    }
                    weights.put(name, values);
                }
            }
        }

        double[][] logits(int[] ids) {
            int layers = config.get("num_hidden_layers").intValue();
            double[][][] keys = new double[layers][ids.length][];
            double[][][] values = new double[layers][ids.length][];
            double[][] logits = new double[ids.length][];
            double[][] embedding = weights.get("model.embed_tokens.weight");
            for (int t = 0; t < ids.length; t++) {
                double[] x = embedding[ids[t]].clone();
                for (int i = 0; i < x.length; i++) {
                    x[i] *= Math.sqrt(x.length);
                }
                for (int layer = 0; layer < layers; layer++) {
                    String at = "model.layers." + layer + ".";
                    double[] normed = norm(x, at + "input_layernorm.weight");
                    double[] query = rotated(times(at + "self_attn.q_proj.weight", normed), heads, t);
                    keys[layer][t] = rotated(times(at + "self_attn.k_proj.weight", normed), kvHeads, t);
                    values[layer][t] = times(at + "self_attn.v_proj.weight", normed);
                    add(x, times(at + "self_attn.o_proj.weight", attend(query, keys[layer], values[layer], t)));
                    normed = norm(x, at + "post_attention_layernorm.weight");
                    double[] gate = times(at + "mlp.gate_proj.weight", normed);
                    double[] up = times(at + "mlp.up_proj.weight", normed);
                    for (int i = 0; i < gate.length; i++) {
                        double g = gate[i];
                        gate[i] = 0.5 * g * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (g + 0.044715 * g * g * g))) * up[i];
                    }
                    add(x, times(at + "mlp.down_proj.weight", gate));
                }
                logits[t] = times("model.embed_tokens.weight", norm(x, "model.norm.weight"));
            }
            return logits;
        }

        /** The weight is what is added to 1. */
        private double[] norm(double[] x, String name) {
            double squares = 0;
            for (double value : x) {
                squares += value * value;
            }
            double scale = 1 / Math.sqrt(squares / x.length + config.get("rms_norm_eps").doubleValue());
            double[] out = new double[x.length];
            for (int i = 0; i < x.length; i++) {
                out[i] = x[i] * scale * (1 + weights.get(name)[0][i]);
            }
            return out;
        }

        private double[] times(String name, double[] x) {
            double[][] matrix = weights.get(name);
            double[] out = new double[matrix.length];
            for (int row = 0; row < out.length; row++) {
                for (int i = 0; i < x.length; i++) {
                    out[row] += matrix[row][i] * x[i];
                }
            }
            return out;
        }

        /** Element i of a head turns with element i + headDim / 2. */
        private double[] rotated(double[] x, int numHeads, int position) {
            double[] out = x.clone();
            int half = headDim / 2;
            for (int head = 0; head < numHeads; head++) {
                for (int i = 0; i < half; i++) {
                    double angle = position * Math.pow(config.get("rope_theta").doubleValue(), -2.0 * i / headDim);
                    double a = x[head * headDim + i];
                    double b = x[head * headDim + half + i];
                    out[head * headDim + i] = a * Math.cos(angle) - b * Math.sin(angle);
                    out[head * headDim + half + i] = b * Math.cos(angle) + a * Math.sin(angle);
                }
            }
            return out;
        }

        private double[] attend(double[] query, double[][] keys, double[][] values, int position) {
            double[] out = new double[heads * headDim];
            for (int head = 0; head < heads; head++) {
                int from = head / (heads / kvHeads) * headDim;
                double[] weight = new double[position + 1];
                double sum = 0;
                for (int s = 0; s <= position; s++) {
                    double score = 0;
                    for (int i = 0; i < headDim; i++) {
                        score += query[head * headDim + i] * keys[s][from + i];
                    }
                    weight[s] = Math.exp(score / Math.sqrt(headDim));
                    sum += weight[s];
                }
                for (int s = 0; s <= position; s++) {
                    for (int i = 0; i < headDim; i++) {
                        out[head * headDim + i] += weight[s] / sum * values[s][from + i];
                    }
                }
            }
            return out;
        }

        private static void add(double[] to, double[] what) {
            for (int i = 0; i < to.length; i++) {
                to[i] += what[i];
            }
        }
    }
}

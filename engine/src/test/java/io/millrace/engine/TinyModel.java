package io.millrace.engine;

import io.millrace.engine.weights.SafetensorsBytes;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/** A Llama folder of a few kilobytes, for tests of loading: two layers, hidden 8, vocabulary 10. Its weights mean nothing. */
final class TinyModel {
    static final String CONFIG = """
            {"architectures":["LlamaForCausalLM"],"vocab_size":10,"hidden_size":8,"intermediate_size":12,"num_hidden_layers":2,
             "num_attention_heads":2,"num_key_value_heads":1,"hidden_act":"silu","rms_norm_eps":1e-5,"max_position_embeddings":64,
             "rope_theta":10000.0,"eos_token_id":2,"tie_word_embeddings":true}""";

    private TinyModel() {}

    static Path write(Path folder) throws IOException {
        Files.writeString(folder.resolve("config.json"), CONFIG);
        writeWeights(folder, shapes());
        return folder;
    }

    static void writeWeights(Path folder, Map<String, int[]> shapes) throws IOException {
        SafetensorsBytes.writeF32(folder.resolve("model.safetensors"), shapes);
    }

    static Map<String, int[]> shapes() {
        Map<String, int[]> shapes = new LinkedHashMap<>();
        shapes.put("model.embed_tokens.weight", new int[] {10, 8});
        for (int layer = 0; layer < 2; layer++) {
            String prefix = "model.layers." + layer + ".";
            for (String norm : Set.of("input_layernorm", "post_attention_layernorm")) {
                shapes.put(prefix + norm + ".weight", new int[] {8});
            }
            shapes.put(prefix + "self_attn.q_proj.weight", new int[] {8, 8});
            shapes.put(prefix + "self_attn.k_proj.weight", new int[] {4, 8});
            shapes.put(prefix + "self_attn.v_proj.weight", new int[] {4, 8});
            shapes.put(prefix + "self_attn.o_proj.weight", new int[] {8, 8});
            shapes.put(prefix + "mlp.gate_proj.weight", new int[] {12, 8});
            shapes.put(prefix + "mlp.up_proj.weight", new int[] {12, 8});
            shapes.put(prefix + "mlp.down_proj.weight", new int[] {8, 12});
        }
        shapes.put("model.norm.weight", new int[] {8});
        return shapes;
    }
}

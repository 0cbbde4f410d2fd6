package io.millrace.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Everything wrong with a model folder or the settings is refused at start-up, with code, values and remedy. */
class ModelLoaderTest {
    private static final EngineConfig SMALL = EngineConfig.defaults().withBackend("reference").withLimits(0, 4, 0);

    @TempDir
    Path folder;

    /** Property: a sound folder loads, the report accounts for every native byte, and what is not used is named. */
    @Test
    void reportAccountsForEveryByte() throws IOException {
        TinyModel.write(folder);
        Map<String, int[]> shapes = TinyModel.shapes();
        shapes.put("model.layers.0.self_attn.rotary_emb.inv_freq", new int[] {2});
        TinyModel.writeWeights(folder, shapes);
        ModelLoader.LoadedEngine loaded = ModelLoader.loadEngine(folder, SMALL);
        try (ModelEngine engine = loaded.engine()) {
            assertThat(engine.limits().eosTokenIds()).containsExactly(2);
            assertThat(engine.limits().maxModelLen()).isEqualTo(64);
            // Four sequences of 64 tokens: more blocks could never be used.
            assertThat(engine.limits().numBlocks()).isEqualTo(16);
            assertThat(io.millrace.engine.model.ModelFamilies.of(io.millrace.engine.model.ModelConfig.read(folder)).activationBytes(
                    io.millrace.engine.model.ModelConfig.read(folder), engine.limits().maxNumBatchedTokens(), engine.limits().maxLogitRows()))
                    .isEqualTo(bytesOf(String.join("\n", loaded.report()), "activations"));
            String report = String.join("\n", loaded.report());
            assertThat(report).contains("LlamaForCausalLM", "F32", "rotary_emb.inv_freq", "kv cache");
            assertThat(bytesOf(report, "total")).isEqualTo(bytesOf(report, "weights") + bytesOf(report, "constants")
                    + bytesOf(report, "activations") + bytesOf(report, "batch") + bytesOf(report, "kv cache"));
        }
    }

    /** Property: what rounding means for products and for the cache is said at the start, and only where it is so. */
    @Test
    void reportSaysWhatQuantisedWeightsMeet() {
        EngineConfig settings = EngineConfig.defaults().withLimits(64, 1, 0).withKvCache("auto", 8).withThreads(1);
        Path model = Path.of("..", "server", "demo-model");
        String rounded = "activations rounded to 8 bits";
        String type = "float16 where they are quantised";
        ModelLoader.LoadedEngine plain = ModelLoader.loadEngine(model, settings);
        plain.engine().close();
        assertThat(String.join("\n", plain.report())).contains("kv       ").doesNotContain(rounded, type);
        ModelLoader.LoadedEngine quantised = ModelLoader.loadEngine(model, settings.withQuantization("q8_0"));
        quantised.engine().close();
        assertThat(String.join("\n", quantised.report())).contains("kv       float16: auto", rounded, type);
    }

    private static long bytesOf(String report, String line) {
        return report.lines().filter(text -> text.startsWith("  " + line + " ")).findFirst()
                .map(text -> Long.parseLong(text.substring(text.indexOf('(') + 1, text.indexOf(" bytes")).replace(",", ""))).orElseThrow();
    }

    /** Property: each edit of config.json that the engine would compute wrongly is refused with its code, naming what is supported. */
    @ParameterizedTest(name = "{0}: {1} -> {2}")
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            MODEL-002 | "vocab_size":10,           |                                             | vocab_size
            MODEL-002 | "vocab_size":10            | "vocab_size":"ten"                          | a whole number of at least 1, is "ten"
            MODEL-002 | "vocab_size":10            | "vocab_size":-3                             | is -3
            MODEL-002 | "vocab_size":10            | "vocab_size":99999999999                    | is 99999999999
            MODEL-002 | "rope_theta":10000.0       | "rope_theta":-1                             | a number above 0
            MODEL-002 | "tie_word_embeddings":true | "tie_word_embeddings":"yes"                 | true or false
            MODEL-003 | LlamaForCausalLM           | MambaForCausalLM                            | supported: Gemma2ForCausalLM, Gemma3ForCausalLM, GemmaForCausalLM, GraniteForCausalLM, LlamaForCausalLM, MistralForCausalLM, Phi3ForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, SmolLM3ForCausalLM
            MODEL-003 | ["LlamaForCausalLM"]       | []                                          | names no architecture
            MODEL-004 | "silu"                     | "gelu"                                      | supported: silu
            MODEL-005 | "eos_token_id":2           | "rope_scaling":{"type":"ntk","factor":4}    | supported: default, linear, llama3, yarn, longrope
            MODEL-002 | "eos_token_id":2           | "rope_scaling":{"type":"su","short_factor":[1,1]} | rope_scaling.long_factor
            MODEL-002 | "eos_token_id":2           | "rope_scaling":{"type":"longrope","short_factor":[1,0]} | a list of 2 numbers above 0
            MODEL-004 | LlamaForCausalLM"          | GemmaForCausalLM"                           | supported: gelu_pytorch_tanh
            MODEL-010 | LlamaForCausalLM"          | Qwen2ForCausalLM"                           | lacks the tensor 'model.layers.0.self_attn.q_proj.bias' of shape [8]
            MODEL-010 | LlamaForCausalLM"          | Qwen3ForCausalLM"                           | lacks the tensor 'model.layers.0.self_attn.q_norm.weight'
            MODEL-010 | LlamaForCausalLM"          | Phi3ForCausalLM"                            | lacks the tensor 'model.layers.0.self_attn.qkv_proj.weight' of shape [16, 8]
            MODEL-002 | ["LlamaForCausalLM"]       | ["MistralForCausalLM"],"layer_types":["full_attention"] | an entry for each of the 2 layers
            MODEL-002 | ["LlamaForCausalLM"]       | ["MistralForCausalLM"],"sliding_window":0 | at least 1
            MODEL-002 | ["LlamaForCausalLM"]       | ["SmolLM3ForCausalLM"],"no_rope_layers":[1] | no_rope_layers
            MODEL-002 | "eos_token_id":2           | "rope_scaling":{"rope_type":"llama3"}       | rope_scaling.factor
            MODEL-005 | "eos_token_id":2           | "rope_parameters":{"rope_type":"dynamic"}   | 'dynamic' is not supported
            MODEL-006 | "eos_token_id":2           | "quantization_config":{"quant_method":"awq"} | awq
            MODEL-007 | "num_key_value_heads":1    | "num_key_value_heads":3                     | multiple
            MODEL-007 | "num_key_value_heads":1    | "num_key_value_heads":1,"head_dim":3        | even
            MODEL-007 | "eos_token_id":2           | "partial_rotary_factor":0.3                 | rotated elements
            MODEL-010 | "tie_word_embeddings":true | "tie_word_embeddings":false                 | 'lm_head.weight' of shape [10, 8]
            MODEL-010 | "eos_token_id":2           | "attention_bias":true                       | 'model.layers.0.self_attn.q_proj.bias'
            MODEL-011 | "intermediate_size":12     | "intermediate_size":16                      | should have the shape [16, 8] by the configuration, has [12, 8]
            KV-001    | "max_position_embeddings":64 | "max_position_embeddings":2147483647      | Set --max-model-len to
            KV-001    | "max_position_embeddings":64 | "max_position_embeddings":300000000,"num_attention_heads":4096,"num_key_value_heads":1024,"head_dim":256 | KV cache and tables
            MODEL-007 | "num_hidden_layers":2      | "num_hidden_layers":2147483647              | number of layers 2147483647 is outside [1, 4096]
            MODEL-007 | "eos_token_id":2           | "head_dim":2147483646                       | 2 heads of 2147483646 elements: width 4294967292
            MODEL-007 | "num_attention_heads":2,"num_key_value_heads":1 | "num_attention_heads":67109888,"num_key_value_heads":1024,"head_dim":64 | width 4295032832 is outside [1, 1048576]
            MODEL-007 | "num_attention_heads":2,"num_key_value_heads":1 | "num_attention_heads":65536,"num_key_value_heads":65536,"head_dim":2 | key/value heads 65536
            MODEL-007 | "hidden_size":8            | "hidden_size":2147483646,"head_dim":4       | hidden size 2147483646
            MODEL-007 | "intermediate_size":12     | "intermediate_size":2147483646              | intermediate size 2147483646
            MODEL-007 | "vocab_size":10            | "vocab_size":2147483647                     | vocabulary 2147483647
            MODEL-010 | "num_hidden_layers":2      | "num_hidden_layers":3                       | 'model.layers.2.input_layernorm.weight'
            MODEL-001 | {                          | [                                           | config.json
            """)
    void wrongConfig(String code, String from, String to, String hint) throws IOException {
        TinyModel.write(folder);
        Files.writeString(folder.resolve("config.json"), TinyModel.CONFIG.replace(from, to == null ? "" : to));
        assertThatThrownBy(() -> ModelLoader.loadEngine(folder, SMALL)).isInstanceOf(EngineException.class)
                .hasMessageStartingWith(code + ":").hasMessageContaining(hint);
    }

    /** Property: a missing piece of the folder is named with its remedy; the engine's memory is released when only the text side fails. */
    @Test
    void missingFiles() throws IOException {
        assertThatThrownBy(() -> ModelLoader.load(folder.resolve("nowhere"), SMALL)).isInstanceOf(EngineException.class)
                .hasMessageStartingWith("MODEL-001:").hasMessageContaining("Check the model path");
        assertThatThrownBy(() -> ModelLoader.load(folder, SMALL)).isInstanceOf(EngineException.class).hasMessageStartingWith("MODEL-001:");
        Path gguf = Files.createFile(Files.createDirectory(folder.resolve("files")).resolve("a.gguf"));
        assertThatThrownBy(() -> ModelLoader.load(gguf.getParent(), SMALL)).as("the file that was meant is named")
                .hasMessageStartingWith("MODEL-001:").hasMessageContaining(gguf.toString());
        TinyModel.write(folder);
        assertThatThrownBy(() -> ModelLoader.load(folder, SMALL)).isInstanceOf(EngineException.class).hasMessageStartingWith("TOK-001:")
                .hasMessageContaining("tokenizer.json");
    }

    /** Property: settings out of range name the flag, the value and the range. */
    @Test
    void wrongSettings() throws IOException {
        TinyModel.write(folder);
        refused(SMALL.withLimits(65, 4, 0), "CFG-002", "beyond the 64 positions");
        refused(SMALL.withLimits(0, 0, 0), "CFG-001", "--max-num-seqs is 0");
        refused(SMALL.withLimits(0, 8, 4), "CFG-001", "--max-num-batched-tokens is 4");
        refused(SMALL.withKvCache("fp4", 0), "CFG-001", "supported: auto, float32, float16, bfloat16");
        refused(SMALL.withKvCache("auto", 3), "KV-001", "Set --max-model-len to 48 or less");
        refused(SMALL.withThreads(1025), "CFG-001", "--threads is 1025; a value in [0, 1024]");
        refused(SMALL.withBackend("abacus"), "CFG-003", "abacus");
    }

    private void refused(EngineConfig settings, String code, String hint) {
        assertThatThrownBy(() -> ModelLoader.loadEngine(folder, settings)).isInstanceOf(EngineException.class)
                .hasMessageStartingWith(code + ":").hasMessageContaining(hint);
    }

    /** Property: sampling defaults that no request could ask for are refused when the model is loaded, with key, value and range. */
    @ParameterizedTest(name = "{0}: {1}")
    @CsvSource(delimiter = '|', textBlock = """
            temperature        | -1
            temperature        | 1e300
            repetition_penalty | 0
            repetition_penalty | -2.0
            repetition_penalty | 1e300
            top_k              | 1.5
            top_k              | -2
            top_k              | 1e12
            top_p              | 0
            top_p              | 1.01
            min_p              | -0.1
            min_p              | 2
            """)
    void wrongGenerationConfig(String key, String value) throws IOException {
        TinyModel.write(folder);
        Files.writeString(folder.resolve("generation_config.json"), "{\"" + key + "\":" + value + "}");
        assertThatThrownBy(() -> ModelLoader.loadEngine(folder, SMALL)).isInstanceOf(EngineException.class).hasMessageStartingWith("MODEL-002:")
                .hasMessageContainingAll("generation_config.json", "'" + key + "'", "number in [");
    }

    /** Property: eos ids of both files count; ids outside the vocabulary do not; sampling defaults are read. */
    @Test
    void generationConfig() throws IOException {
        TinyModel.write(folder);
        Files.writeString(folder.resolve("generation_config.json"), "{\"eos_token_id\":[5,1,999],\"temperature\":0.6,\"top_k\":20,\"top_p\":null}");
        ModelLoader.LoadedEngine loaded = ModelLoader.loadEngine(folder, SMALL);
        try (ModelEngine engine = loaded.engine()) {
            assertThat(engine.limits().eosTokenIds()).containsExactly(1, 2, 5);
            assertThat(loaded.defaults().temperature()).contains(0.6f);
            assertThat(loaded.defaults().topK()).contains(20);
            assertThat(loaded.defaults().topP()).isEmpty();
        }
    }
}

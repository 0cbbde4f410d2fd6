package io.millrace.engine;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.millrace.engine.weights.GgufBytes;
import java.io.IOException;
import java.nio.file.Path;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Guards: what is wrong with a GGUF file is refused at start-up, by the file's own names of key and tensor, and with what is supported. */
class GgufRefusalTest {
    private static final EngineConfig SMALL = EngineConfig.defaults().withBackend("reference").withLimits(32, 1, 0);

    @TempDir
    Path folder;

    private void refused(String checkpoint, Consumer<GgufBytes> change, String code, String... hints) throws IOException {
        GgufBytes gguf = GgufConversion.of(TestData.require("golden/" + checkpoint));
        change.accept(gguf);
        Path file = gguf.write(folder.resolve("model.gguf"));
        assertThatThrownBy(() -> ModelLoader.loadEngine(file, SMALL).engine().close()).isInstanceOf(EngineException.class)
                .hasMessageStartingWith(code + ":").hasMessageContainingAll(hints);
    }

    @Test
    void architectures() throws IOException {
        refused("llama-a", g -> g.put("general.architecture", "mamba"), "MODEL-003", "'mamba'",
                "supported: gemma, gemma2, gemma3, granite, llama, phi3, qwen2, qwen3, smollm3");
        refused("llama-a", g -> g.remove("general.architecture"), "GGUF-004", "general.architecture");
        refused("llama-a", g -> g.put("llama.expert_count", 8), "MODEL-003", "mixture-of-experts");
    }

    @Test
    void tensors() throws IOException {
        refused("qwen2-a", g -> g.removeTensor("blk.1.attn_k.bias"), "MODEL-010", "'blk.1.attn_k.bias' of shape [32]");
        refused("qwen3-a", g -> g.removeTensor("blk.2.attn_q_norm.weight"), "MODEL-010", "'blk.2.attn_q_norm.weight' of shape [32]");
        refused("gemma2-a", g -> g.removeTensor("blk.0.post_ffw_norm.weight"), "MODEL-010", "'blk.0.post_ffw_norm.weight'");
        refused("gemma2-a", g -> g.removeTensor("blk.0.ffn_norm.weight"), "MODEL-010", "'blk.0.ffn_norm.weight'");
        refused("phi3-plain-a", g -> g.removeTensor("blk.0.ffn_up.weight"), "MODEL-010", "'blk.0.ffn_up.weight' of shape [192, 64]");
        refused("phi3-longrope-a", g -> g.removeTensor("rope_factors_long.weight"), "MODEL-010", "'rope_factors_long.weight' of shape [8]");
        refused("llama-a", g -> g.removeTensor("token_embd.weight"), "MODEL-010", "'token_embd.weight'");
        refused("llama-a", g -> g.removeTensor("output_norm.weight"), "MODEL-010", "'output_norm.weight' of shape [64]");
        refused("llama-a", g -> g.put("llama.feed_forward_length", 97), "MODEL-011", "'blk.0.ffn_gate.weight'", "[97, 64]", "has [96, 64]");
        refused("phi3-longrope-a", g -> g.floats("rope_factors_short.weight", new float[7]), "MODEL-011", "'rope_factors_short.weight'", "8 floats");
        refused("phi3-longrope-a", g -> g.floats("rope_factors_short.weight", new float[8]), "MODEL-005", "factor 0");
    }

    @Test
    void formats() throws IOException {
        for (String type : new String[] {"Q2_K", "Q3_K", "IQ4_XS"}) {
            int blockBytes = type.equals("Q2_K") ? 84 : type.equals("Q3_K") ? 110 : 136;
            refused("llama-a", g -> g.tensor("blk.0.ffn_down.weight", type, new long[] {64, 256}, new byte[64 * blockBytes]), "GGUF-007",
                    "'blk.0.ffn_down.weight' is of type " + type, "read are F32, F16, BF16, Q8_0", "Use such a file of the same model");
        }
        refused("llama-a", g -> g.tensor("blk.0.attn_norm.weight", "Q8_0", new long[] {64}, new byte[68]), "ST-008", "attn_norm");
    }

    @Test
    void keys() throws IOException {
        refused("llama-a", g -> g.remove("llama.block_count"), "GGUF-004", "llama.block_count");
        refused("llama-a", g -> g.put("llama.context_length", "long"), "GGUF-004", "llama.context_length", "an integer");
        refused("qwen2-swa-a", g -> g.put("qwen2.attention.sliding_window_pattern", new boolean[2]), "GGUF-004", "sliding_window_pattern", "3 layers");
        refused("gemma2-a", g -> g.put("gemma2.final_logit_softcapping", -1f), "GGUF-004", "final_logit_softcapping", "-1.0");
        refused("gemma2-a", g -> g.put("gemma2.attn_logit_softcapping", Float.NaN), "GGUF-004", "attn_logit_softcapping");
        refused("granite-a", g -> g.put("granite.residual_scale", 1e-30f), "MODEL-007", "residual scale", "1.0E-6");
        refused("qwen2-yarn-a", g -> g.remove("qwen2.rope.scaling.original_context_length"), "GGUF-004", "original_context_length");
        refused("qwen2-a", g -> g.put("qwen2.rope.scaling.type", "dynamic"), "MODEL-005", "'dynamic'", "supported: none, linear, yarn");
        refused("llama-a", g -> g.put("llama.rope.freq_base", 1e-3f), "MODEL-005", "0.001");
        refused("llama-a", g -> g.put("llama.rope.dimension_count", 18), "MODEL-007", "rope.dimension_count 18");
        refused("llama-a", g -> g.put("llama.attention.head_count_kv", 3), "MODEL-007", "head_count_kv 3");
    }
}

package io.millrace.engine;

import io.millrace.engine.weights.GgufBytes;
import java.util.ArrayList;
import java.util.List;

/** A vocabulary of a few hundred tokens for GGUF files that tests make: three special tokens, all bytes, some letters and joins. */
final class TinyVocabulary {
    private static final int NORMAL = 1;
    private static final int UNKNOWN = 2;
    private static final int CONTROL = 3;
    private static final int BYTE = 6;

    private TinyVocabulary() {}

    /** @param byteLevel byte-level BPE as of GPT-2, else SentencePiece */
    static GgufBytes addTo(GgufBytes gguf, boolean byteLevel) {
        List<String> tokens = new ArrayList<>(List.of("<unk>", "<s>", "</s>"));
        for (int b = 0; b < 256; b++) {
            tokens.add(byteLevel ? String.valueOf(byteCharacter(b)) : String.format("<0x%02X>", b));
        }
        List<String> merges = new ArrayList<>();
        for (String joined : byteLevel ? List.of("ab", "\u0120a", "12") : List.of("\u2581", "a", "ab", "\u2581ab")) {
            tokens.add(joined);
            merges.add(joined.charAt(0) + " " + joined.substring(1));
        }
        int[] types = new int[tokens.size()];
        float[] scores = new float[tokens.size()];
        for (int id = 0; id < types.length; id++) {
            types[id] = id == 0 ? UNKNOWN : id < 3 ? CONTROL : byteLevel || id >= 259 ? NORMAL : BYTE;
            scores[id] = -id;
        }
        gguf.put("tokenizer.ggml.model", byteLevel ? "gpt2" : "llama").put("tokenizer.ggml.pre", byteLevel ? "qwen2" : "default")
                .put("tokenizer.ggml.tokens", tokens.toArray(String[]::new)).put("tokenizer.ggml.token_type", types)
                .put("tokenizer.ggml.bos_token_id", 1).put("tokenizer.ggml.eos_token_id", 2)
                .put("tokenizer.chat_template", "{% for m in messages %}{{ bos_token }}{{ m['role'] }}: {{ m['content'] }}{% endfor %}");
        return byteLevel ? gguf.put("tokenizer.ggml.merges", merges.toArray(String[]::new)) : gguf.put("tokenizer.ggml.scores", scores);
    }

    /** GPT-2's stand-in for a byte: itself where it is a visible Latin-1 character, else the next from 256 on. */
    private static char byteCharacter(int b) {
        int hidden = 0;
        for (int i = 0; i <= b; i++) {
            boolean visible = i >= '!' && i <= '~' || i >= 0xa1 && i <= 0xac || i >= 0xae;
            if (i == b) {
                return (char) (visible ? b : 256 + hidden);
            }
            hidden += visible ? 0 : 1;
        }
        throw new IllegalArgumentException();
    }
}

package io.millrace.engine.text;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.engine.weights.GgufBytes;
import io.millrace.engine.weights.GgufFile;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The encoder of byte-level BPE against Hugging Face's Rust library, given the same vocabulary. */
class ByteLevelBpeTest {
    /** What cuts differently in one pattern or another: spaces of all kinds, ends of lines, contractions, digits, cases, marks, symbols, scripts. */
    private static final List<String> FRAGMENTS = List.of(" ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\n\n", "\u000b", "\f", "\u0085", "\u00a0", "\u1680", "\u2003", "\u2028",
            "\u202f", "\u3000", "\u200b", "\ufeff", "'s", "'S", "'re", "'LL", "'\u017f", "'d", "'", "\u2019s", "a", "the", "Hello", "WORLD", "iPhone", "xY", "\u00df",
            "\u01c5", "\u02b0", "\u00aa", "e\u0301", "\u0301", "\u0915\u094d\u0937\u093f", "\u0e33", "\uac00", "\u1100\u1161", "\u4f60\u597d", "\u3042", "\ud83d\ude00",
            "\ud83d\udc68\u200d\ud83d\udc69", "\ud835\udc00", "1", "12", "12345", "\u0661\u0662", "\u00bd", "\u2163", "\u2460", ".", ",", "!?", "/", "//", "_", "#", "$", "\u20ac", "+", "<", ">",
            "<|end|>", "<|end", "<|en", "<|end|><|end|>", "\u00c5", "A\u030a", "\u212b", "\ufb01", "\u0000", "\u007f", "\u0378", "\ufffd", "\ue000");

    @TempDir
    Path folder;

    /** The vocabulary of a byte-level {@code tokenizer.json} as a GGUF file, with two tokens that are found in text as they stand. */
    private GgufFile gguf(String json, String pre) throws IOException {
        JsonNode model = TestTokenizers.JSON.readTree(TestTokenizers.data(json).toFile()).get("model");
        int size = model.get("vocab").size();
        String[] tokens = new String[size + 2];
        model.get("vocab").properties().forEach(entry -> tokens[entry.getValue().asInt()] = entry.getKey());
        tokens[size] = "<|end|>";
        tokens[size + 1] = "<|end|><|end|>";
        List<String> merges = new ArrayList<>();
        model.get("merges").forEach(merge -> merges.add(merge.isTextual() ? merge.asText() : merge.get(0).asText() + " " + merge.get(1).asText()));
        int[] types = new int[tokens.length];
        Arrays.fill(types, 1);
        types[size] = 3;
        types[size + 1] = 4;
        return GgufFile.open(new GgufBytes().put("general.architecture", "llama").put("tokenizer.ggml.model", "gpt2").put("tokenizer.ggml.pre", pre)
                .put("tokenizer.ggml.tokens", tokens).put("tokenizer.ggml.token_type", types)
                .put("tokenizer.ggml.merges", merges.toArray(String[]::new)).put("tokenizer.ggml.bos_token_id", size)
                .put("tokenizer.ggml.eos_token_id", 0).put("tokenizer.ggml.add_eos_token", true).write(folder.resolve(pre + ".gguf")));
    }

    private static List<String> texts(int count) throws IOException {
        List<String> texts = new ArrayList<>(List.of("", " ", "\n"));
        for (String name : List.of("llama-bpe", "gpt-2", "qwen2", "phi-3")) {
            texts.addAll(List.of(Files.readString(TestTokenizers.data("tokenizers/ggml-vocab/ggml-vocab-" + name + ".gguf.inp")).split("\n__ggml_vocab_test__\n", -1)));
        }
        SplittableRandom random = new SplittableRandom(20_261_123);
        for (int i = 0; i < count; i++) {
            StringBuilder text = new StringBuilder();
            for (int n = random.nextInt(24); n >= 0; n--) {
                // One in eight is any character that has been assigned for long.
                text.append(random.nextInt(8) > 0 ? FRAGMENTS.get(random.nextInt(FRAGMENTS.size())) : Character.toString(random.nextInt(0x20, 0x530)));
            }
            texts.add(text.toString());
        }
        return texts;
    }

    /** Property: the ids are the library's for every pre-tokenizer, with and without the tokens that open and close a text. */
    @ParameterizedTest
    @CsvSource({"gpt2, gpt-2", "gpt2, smollm", "cl100k, llama-bpe", "cl100k, dbrx", "cl100k, qwen2", "cl100k, gpt-4o", "cl100k, tekken"})
    void idsAreTheLibrarys(String vocabulary, String pre) throws IOException {
        try (GgufFile file = gguf("tokenizers/hf/" + vocabulary + "/tokenizer.json", pre);
                HfTokenizer own = HfTokenizer.of(file); HfTokenizer library = HfTokenizer.throughLibrary(new GgufVocabulary(file.path(), file.metadata()))) {
            for (String text : texts(1500)) {
                for (boolean special : new boolean[] {false, true}) {
                    assertThat(own.encode(text, special)).as("%s of '%s'", pre, escaped(text)).isEqualTo(library.encode(text, special));
                }
            }
            assertThat(own.vocabSize()).isEqualTo(library.vocabSize());
            for (int id = 0; id < own.vocabSize(); id += 97) {
                assertThat(own.decode(new int[] {id}, false)).isEqualTo(library.decode(new int[] {id}, false));
            }
        }
    }

    private static String escaped(String text) {
        return text.chars().mapToObj(c -> c >= ' ' && c < 0x7f ? String.valueOf((char) c) : String.format("\\u%04x", c)).reduce("", String::concat);
    }

    /** Property: merging takes n log n whatever the text: pieces of a hundred thousand letters, spaces, marks, and what nearly is an added token. */
    @Test
    void longPiecesTakeBoundedTime() throws IOException {
        try (GgufFile file = gguf("tokenizers/hf/cl100k/tokenizer.json", "llama-bpe"); HfTokenizer own = HfTokenizer.of(file)) {
            for (String unit : List.of("a", "ab", " ", "\n ", "\u0301", ".", "<|end", "<", "\ud83d\ude00", "A", "1", "'", "\u4f60")) {
                String text = unit.repeat(100_000);
                AtomicInteger count = new AtomicInteger();
                org.assertj.core.api.Assertions.assertThatCode(() -> count.set(own.encode(text, false).length)).doesNotThrowAnyException();
                long start = ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime();
                int[] ids = own.encode(text, false);
                assertThat(Duration.ofNanos(ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() - start)).as(escaped(unit)).isLessThan(Duration.ofSeconds(5));
                assertThat(ids).hasSize(count.get());
                assertThat(own.decode(ids, false)).as(escaped(unit)).isEqualTo(text);
            }
        }
    }

    /** Property: many threads share one encoder. */
    @Test
    void manyThreadsGetTheSameIds() throws IOException {
        try (GgufFile file = gguf("tokenizers/hf/gpt2/tokenizer.json", "gpt-2"); HfTokenizer own = HfTokenizer.of(file)) {
            List<String> texts = texts(200);
            List<int[]> alone = texts.stream().map(text -> own.encode(text, true)).toList();
            List<int[]> together = IntStream.range(0, 8 * texts.size()).parallel().mapToObj(i -> own.encode(texts.get(i % texts.size()), true)).toList();
            for (int i = 0; i < together.size(); i++) {
                assertThat(together.get(i)).isEqualTo(alone.get(i % alone.size()));
            }
        }
    }
}

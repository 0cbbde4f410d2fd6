package io.millrace.engine.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.engine.EngineException;
import io.millrace.engine.weights.GgufArray;
import io.millrace.engine.weights.GgufBytes;
import io.millrace.engine.weights.GgufFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The pre-tokenizers that a GGUF file may name, for models whose vocabularies cannot be kept here. Llama 3 and Qwen 2 extend or trim the
 * vocabulary of cl100k_base, which can: texts of the published encodings that stay within what both have must be cut alike.
 */
class GgufPreTokenizerTest {
    private static final int CL100K_TOKENS = 100_256;

    @TempDir
    Path folder;

    /** The vocabulary and merges of a byte-level {@code tokenizer.json} as a GGUF file. */
    private HfTokenizer byteLevel(Path json, String pre) throws IOException {
        JsonNode model = TestTokenizers.JSON.readTree(json.toFile()).get("model");
        String[] tokens = new String[model.get("vocab").size()];
        model.get("vocab").properties().forEach(entry -> tokens[entry.getValue().asInt()] = entry.getKey());
        List<String> merges = new ArrayList<>();
        model.get("merges").forEach(merge -> merges.add(merge.isTextual() ? merge.asText() : merge.get(0).asText() + " " + merge.get(1).asText()));
        int[] types = new int[tokens.length];
        Arrays.fill(types, 1);
        Path file = new GgufBytes().put("general.architecture", "llama").put("tokenizer.ggml.model", "gpt2").put("tokenizer.ggml.pre", pre)
                .put("tokenizer.ggml.tokens", tokens).put("tokenizer.ggml.token_type", types)
                .put("tokenizer.ggml.merges", merges.toArray(String[]::new)).put("tokenizer.ggml.bos_token_id", 0).write(folder.resolve(pre + ".gguf"));
        try (GgufFile gguf = GgufFile.open(file)) {
            return HfTokenizer.of(gguf);
        }
    }

    private record Case(String text, int[] ids) {}

    private static List<Case> published(String name) throws IOException {
        Path vocab = TestTokenizers.data("tokenizers/ggml-vocab");
        String[] texts = Files.readString(vocab.resolve("ggml-vocab-" + name + ".gguf.inp")).split("\n__ggml_vocab_test__\n", -1);
        String[] lines = Files.readString(vocab.resolve("ggml-vocab-" + name + ".gguf.out")).split("\n", -1);
        List<Case> cases = new ArrayList<>();
        for (int i = 0; i < texts.length && i < lines.length; i++) {
            String text = i == texts.length - 1 && texts[i].endsWith("\n") ? texts[i].substring(0, texts[i].length() - 1) : texts[i];
            cases.add(new Case(text, lines[i].isBlank() ? new int[0] : Arrays.stream(lines[i].strip().split("\\s+")).mapToInt(Integer::parseInt).toArray()));
        }
        return cases;
    }

    /** Property: Llama 3's published ids, wherever they are all of the part that is cl100k_base; without a word of the file bos comes first. */
    @ParameterizedTest
    @ValueSource(strings = {"llama-bpe", "dbrx"})
    void llama3(String pre) throws IOException {
        int compared = 0;
        try (HfTokenizer tokenizer = byteLevel(TestTokenizers.data("tokenizers/hf/cl100k/tokenizer.json"), pre)) {
            for (Case c : published("llama-bpe")) {
                if (Arrays.stream(c.ids()).allMatch(id -> id < CL100K_TOKENS)) {
                    assertThat(tokenizer.encode(c.text(), false)).as(c.text()).isEqualTo(c.ids());
                    compared++;
                }
            }
            assertThat(compared).isGreaterThanOrEqualTo(40);
            assertThat(tokenizer.encode("a", true)).hasSize(pre.equals("llama-bpe") ? 2 : 1);
        }
    }

    /** Property: Qwen 2 cuts the published texts at the same places: its ids stand one to one for those of cl100k_base. */
    @Test
    void qwen2() throws IOException {
        int compared = 0;
        Map<Integer, Integer> ours = new HashMap<>();
        Map<Integer, Integer> theirs = new HashMap<>();
        try (HfTokenizer tokenizer = byteLevel(TestTokenizers.data("tokenizers/hf/cl100k/tokenizer.json"), "qwen2")) {
            for (Case c : published("qwen2")) {
                int[] ids = tokenizer.encode(c.text(), false);
                if (Arrays.stream(c.ids()).allMatch(id -> id < CL100K_TOKENS)) {
                    assertThat(ids).as(c.text()).hasSameSizeAs(c.ids());
                    for (int i = 0; i < ids.length; i++) {
                        assertThat(ours.merge(c.ids()[i], ids[i], (a, b) -> a)).as(c.text()).isEqualTo(ids[i]);
                        assertThat(theirs.merge(ids[i], c.ids()[i], (a, b) -> a)).as(c.text()).isEqualTo(c.ids()[i]);
                    }
                    compared++;
                }
            }
        }
        assertThat(compared).isGreaterThanOrEqualTo(39);
        assertThat(ours).hasSizeGreaterThan(40);
    }

    /** Property: SmolLM cuts as GPT-2 does, and every digit by itself. */
    @Test
    void smollm() throws IOException {
        Path json = TestTokenizers.data("tokenizers/hf/gpt2/tokenizer.json");
        try (HfTokenizer gpt2 = byteLevel(json, "gpt-2"); HfTokenizer digits = byteLevel(json, "smollm")) {
            int compared = 0;
            for (Case c : published("gpt-2")) {
                assertThat(gpt2.encode(c.text(), false)).as(c.text()).isEqualTo(c.ids());
                if (c.text().codePoints().noneMatch(p -> Character.getType(p) == Character.DECIMAL_DIGIT_NUMBER || Character.getType(p) == Character.OTHER_NUMBER
                        || Character.getType(p) == Character.LETTER_NUMBER)) {
                    assertThat(digits.encode(c.text(), false)).as(c.text()).isEqualTo(c.ids());
                    compared++;
                }
            }
            assertThat(compared).isGreaterThan(20);
            assertThat(pieces(digits, "in 1984, x12")).containsExactly("in", "\u0120", "1", "9", "8", "4", ",", "\u0120x", "1", "2");
        }
    }

    /** Property: o200k's pattern keeps contractions with their word and cuts between lower and upper case; Mistral's cuts digits one by one. */
    @Test
    void wordsOfMixedCase() throws IOException {
        Path json = TestTokenizers.data("tokenizers/hf/cl100k/tokenizer.json");
        try (HfTokenizer gpt4o = byteLevel(json, "gpt-4o"); HfTokenizer tekken = byteLevel(json, "tekken"); HfTokenizer cl100k = byteLevel(json, "dbrx")) {
            assertThat(pieces(cl100k, "helloWorld")).containsExactly("hello", "World");
            assertThat(pieces(gpt4o, "xY 12345")).containsExactly("x", "Y", "\u0120", "123", "45");
            assertThat(pieces(tekken, "xY 123")).containsExactly("x", "Y", "\u0120", "1", "2", "3");
            for (Case c : published("llama-bpe")) {
                assertThat(gpt4o.decode(gpt4o.encode(c.text(), false), false)).isEqualTo(c.text());
                assertThat(tekken.decode(tekken.encode(c.text(), false), false)).isEqualTo(c.text());
            }
        }
    }

    /** Property: a name that is not known is refused with those that are. */
    @Test
    void unknown() {
        assertThatThrownBy(() -> byteLevel(TestTokenizers.data("tokenizers/hf/gpt2/tokenizer.json"), "chatglm-bpe")).isInstanceOf(EngineException.class)
                .hasMessageContainingAll("TOK-011", "chatglm-bpe", "known are gpt-2, llama-bpe", "Hugging Face folder");
    }

    private static List<String> pieces(HfTokenizer tokenizer, String text) {
        return Arrays.stream(tokenizer.encode(text, false)).mapToObj(tokenizer::piece).toList();
    }

    /**
     * Property: a SentencePiece vocabulary without the leading space, as Gemma's files have it, joins neighbours in the order of their scores,
     * best first, leftmost among equals. The comparison does just that, one join at a time.
     */
    @Test
    void sentencePieceWithoutPrefix() throws IOException {
        Path phi = TestTokenizers.data("tokenizers/ggml-vocab/ggml-vocab-phi-3.gguf");
        GgufBytes gemma = new GgufBytes().put("general.architecture", "gemma").put("tokenizer.ggml.model", "llama").put("tokenizer.ggml.add_space_prefix", false);
        String[] tokens;
        float[] scores;
        try (GgufFile file = GgufFile.open(phi)) {
            tokens = file.metadata().stringArray("tokenizer.ggml.tokens").map(GgufArray.Strings::toArray).orElseThrow();
            scores = file.metadata().floats("tokenizer.ggml.scores").orElseThrow();
            gemma.put("tokenizer.ggml.tokens", tokens).put("tokenizer.ggml.scores", scores).put("tokenizer.ggml.token_type",
                    Arrays.stream(file.metadata().integers("tokenizer.ggml.token_type").orElseThrow()).mapToInt(type -> (int) type).toArray());
        }
        Map<String, Integer> ids = new HashMap<>();
        for (int id = 0; id < tokens.length; id++) {
            ids.putIfAbsent(tokens[id], id);
        }
        List<String> texts = new ArrayList<>();
        published("phi-3").forEach(c -> texts.add(c.text()));
        SplittableRandom random = new SplittableRandom(5);
        for (int i = 0; i < 200; i++) {
            texts.add(random.ints(30, 0, 12).mapToObj(n -> List.of("the", " ", "  ", "ing", "a", "x", "\n", "\u00e9", "1", ".", "\ud83d\ude00", "Th").get(n))
                    .reduce("", String::concat));
        }
        try (GgufFile file = GgufFile.open(gemma.write(folder.resolve("gemma.gguf"))); HfTokenizer tokenizer = HfTokenizer.of(file)) {
            for (String text : texts) {
                if (!text.contains("<")) { // special tokens are cut out first
                    assertThat(tokenizer.encode(text, false)).as(text).isEqualTo(joined(text, ids, scores));
                    assertThat(tokenizer.decode(tokenizer.encode(text, false), false)).isEqualTo(text);
                }
            }
        }
    }

    private static int[] joined(String text, Map<String, Integer> ids, float[] scores) {
        List<String> parts = new ArrayList<>();
        text.replace(' ', '\u2581').codePoints().forEach(c -> parts.add(Character.toString(c)));
        while (true) {
            int best = -1;
            for (int i = 0; i + 1 < parts.size(); i++) {
                Integer id = ids.get(parts.get(i) + parts.get(i + 1));
                if (id != null && (best < 0 || scores[id] > scores[ids.get(parts.get(best) + parts.get(best + 1))])) {
                    best = i;
                }
            }
            if (best < 0) {
                break;
            }
            parts.set(best, parts.get(best) + parts.remove(best + 1));
        }
        return parts.stream().flatMap(part -> ids.containsKey(part) ? List.of(ids.get(part)).stream()
                : bytes(part).stream().map(ids::get)).mapToInt(Integer::intValue).toArray();
    }

    private static List<String> bytes(String part) {
        List<String> names = new ArrayList<>();
        for (byte b : part.getBytes(java.nio.charset.StandardCharsets.UTF_8)) {
            names.add(String.format("<0x%02X>", b & 0xff));
        }
        return names;
    }
}

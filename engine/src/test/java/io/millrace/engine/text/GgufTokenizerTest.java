package io.millrace.engine.text;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.engine.weights.GgufFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Guards: a vocabulary read from a GGUF file gives the ids that llama.cpp and the model's author computed. */
class GgufTokenizerTest {
    @ParameterizedTest
    @ValueSource(strings = {"F32", "Q8_0"})
    void storiesCasesAreAllEqual(String type) {
        Path folder = TestTokenizers.data("models/stories260K");
        try (GgufFile gguf = GgufFile.open(folder.resolve("gguf/stories260K-" + type + ".gguf")); HfTokenizer tokenizer = HfTokenizer.of(gguf)) {
            for (JsonNode c : TestTokenizers.lines(folder.resolve("expected/tokenizer_cases.jsonl"))) {
                int[] ids = tokenizer.encode(c.get("text").asText(), true);
                if (!c.get("note").asText().contains("HF splits added tokens first")) {
                    assertThat(ids).as(c.get("text").toString()).isEqualTo(TestTokenizers.ids(c.get("ids")));
                    assertThat(tokenizer.decode(ids, true)).isEqualTo(c.get("decoded").asText());
                }
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"gpt-2", "phi-3"})
    void publicVocabularyCasesAreAllEqual(String name) throws IOException {
        Path vocab = TestTokenizers.data("tokenizers/ggml-vocab");
        String[] texts = Files.readString(vocab.resolve("ggml-vocab-" + name + ".gguf.inp")).split("\n__ggml_vocab_test__\n", -1);
        String[] expected = Files.readString(vocab.resolve("ggml-vocab-" + name + ".gguf.out")).split("\n", -1);
        int compared = 0;
        try (GgufFile gguf = GgufFile.open(vocab.resolve("ggml-vocab-" + name + ".gguf")); HfTokenizer tokenizer = HfTokenizer.of(gguf)) {
            for (int i = 0; i < texts.length && i < expected.length; i++) {
                int[] ids = expected[i].isBlank() ? new int[0]
                        : java.util.Arrays.stream(expected[i].strip().split("\\s+")).mapToInt(Integer::parseInt).toArray();
                String text = texts[i].endsWith("\n") && i == texts.length - 1 ? texts[i].substring(0, texts[i].length() - 1) : texts[i];
                assertThat(tokenizer.encode(text, false)).as("%s, text %d: %s", name, i, text).isEqualTo(ids);
                compared++;
            }
        }
        assertThat(compared).isGreaterThanOrEqualTo(46);
    }
}

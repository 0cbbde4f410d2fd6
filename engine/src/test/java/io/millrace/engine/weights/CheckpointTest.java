package io.millrace.engine.weights;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.millrace.engine.EngineException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Finding weights in a folder: single or sharded, never anything that could run code or lie outside the folder. */
class CheckpointTest {
    @TempDir
    Path folder;

    /** Property: shards listed by an index read like one file. */
    @Test
    void shards() throws IOException {
        SafetensorsBytes.writeF32(folder.resolve("model-00001-of-00002.safetensors"), Map.of("a", new int[] {2, 3}));
        SafetensorsBytes.writeF32(folder.resolve("model-00002-of-00002.safetensors"), Map.of("b", new int[] {4}));
        index("{\"metadata\":{\"total_size\":40},\"weight_map\":{\"a\":\"model-00001-of-00002.safetensors\",\"b\":\"model-00002-of-00002.safetensors\"}}");
        try (Checkpoint checkpoint = Checkpoint.open(folder)) {
            assertThat(checkpoint.names()).containsExactlyInAnyOrder("a", "b");
            assertThat(checkpoint.byteSize()).isEqualTo(40);
            assertThat(checkpoint.tensor("b").orElseThrow().data().byteSize()).isEqualTo(16);
            assertThat(checkpoint.tensor("c")).isEmpty();
        }
    }

    /** Property: an index that does not match its shards, or is no index, is refused with its own code. */
    @ParameterizedTest(name = "{0}: {1}")
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            ST-010 | {}
            ST-010 | {"weight_map":{}}
            ST-010 | {"weight_map":[1]}
            ST-010 | {"weight_map":{"a":1}}
            ST-010 | {"weight_map":{"a":
            ST-011 | {"weight_map":{"a":"model-00009-of-00009.safetensors"}}
            ST-012 | {"weight_map":{"a":"shard.safetensors","missing":"shard.safetensors"}}
            """)
    void wrongIndex(String code, String index) throws IOException {
        SafetensorsBytes.writeF32(folder.resolve("shard.safetensors"), Map.of("a", new int[] {1}));
        index(index);
        assertThatThrownBy(() -> Checkpoint.open(folder)).isInstanceOf(EngineException.class).hasMessageStartingWith(code + ":");
    }

    /** Property: a shard name never leads out of the folder, even if the file is there. */
    @ParameterizedTest
    @ValueSource(strings = {"../evil.safetensors", "/etc/evil.safetensors", "sub/evil.safetensors", "..\\\\evil.safetensors", ".safetensors",
        "evil.bin", "a\\u0000.safetensors", ""})
    void unsafeShardNames(String name) throws IOException {
        Path inner = Files.createDirectory(folder.resolve("inner"));
        SafetensorsBytes.writeF32(folder.resolve("evil.safetensors"), Map.of("a", new int[] {1}));
        Files.writeString(inner.resolve("model.safetensors.index.json"), "{\"weight_map\":{\"a\":\"" + name + "\"}}");
        assertThatThrownBy(() -> Checkpoint.open(inner)).isInstanceOf(EngineException.class).hasMessageStartingWith("ST-013:");
    }

    /** Property: pickle files are refused by name with the remedy; other formats and empty folders say what is expected. */
    @ParameterizedTest(name = "{1}: {0}")
    @CsvSource({"pytorch_model.bin, ST-014, pickle", "consolidated.00.pth, ST-014, pickle", "model.pt, ST-014, pickle",
        "pytorch_model.bin.index.json, ST-014, pickle", "model-Q4_0.gguf, ST-014, Hugging Face layout",
        "consolidated.safetensors, ST-014, model.safetensors", "README.md, ST-015, README.md"})
    void otherFormats(String file, String code, String hint) throws IOException {
        Files.write(folder.resolve(file), new byte[] {1});
        assertThatThrownBy(() -> Checkpoint.open(folder)).isInstanceOf(EngineException.class).hasMessageStartingWith(code + ":")
                .hasMessageContaining(file).hasMessageContaining(hint);
    }

    private void index(String json) throws IOException {
        Files.writeString(folder.resolve("model.safetensors.index.json"), json);
    }
}

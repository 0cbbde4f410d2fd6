package io.millrace.engine.weights;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.millrace.engine.EngineException;
import io.millrace.engine.TestData;
import io.millrace.engine.weights.QuantizationCache.Place;
import io.millrace.kernels.Backend;
import io.millrace.kernels.Backends;
import io.millrace.kernels.BatchLimits;
import io.millrace.kernels.DType;
import io.millrace.kernels.QuantFormat;
import io.millrace.kernels.Quantizer;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Weights rounded at load: the bits that files of the format have, and a cache that is either right or not used. */
class QuantizationTest {
    @TempDir
    Path folder;

    /** Property: rounding float32 weights gives the bytes of the GGUF file that llama.cpp made of them. */
    @ParameterizedTest
    @CsvSource({"Q8_0, stories260K-Q8_0.gguf", "Q4_0, stories260K-Q4_0.gguf"})
    void roundedAtLoadIsWhatTheFileHolds(QuantFormat format, String name) {
        Path models = TestData.require("models/stories260K");
        try (Checkpoint plain = Checkpoint.open(models.resolve("hf-fp32")); GgufFile file = GgufFile.open(models.resolve("gguf").resolve(name));
                Backend backend = Backends.create("cpu", new BatchLimits(1, 1, 1, 1, 0), 2);
                QuantizedWeights weights = QuantizedWeights.of(plain, format, backend::quantize)) {
            int compared = 0;
            for (GgufTensor tensor : file.tensors().values()) {
                StoredTensor ours = weights.tensor(GgufWeights.huggingFaceName("llama", tensor.name())).orElseThrow();
                if (tensor.type().format().orElse(null) != format || ours.format().orElse(null) != format) {
                    continue; // a width that the file keeps in another format
                }
                // Query and key rows stand in another order in files of the llama architecture.
                assertThat(rows(ours.data(), tensor.shape().getFirst())).as(tensor.name()).isEqualTo(rows(file.data(tensor), tensor.shape().getFirst()));
                compared++;
            }
            assertThat(compared).isGreaterThan(20);
        }
    }

    private static List<String> rows(MemorySegment data, long count) {
        List<String> rows = new ArrayList<>();
        long bytes = data.byteSize() / count;
        for (long i = 0; i < count; i++) {
            rows.add(HexFormat.of().formatHex(data.asSlice(i * bytes, bytes).toArray(ValueLayout.JAVA_BYTE)));
        }
        rows.sort(null);
        return rows;
    }

    /** Property: norms keep their type, the matrix of the logits gets six bits, widths that do not fit get the next best block. */
    @Test
    void whichFormatForWhichTensor() throws IOException {
        write(folder, DType.F32, 1);
        try (Checkpoint plain = Checkpoint.open(folder)) {
            assertThat(formats(plain, QuantFormat.Q4_K)).containsExactlyInAnyOrderEntriesOf(Map.of("model.embed_tokens.weight", QuantFormat.Q6_K,
                    "a.weight", QuantFormat.Q4_K, "b.weight", QuantFormat.Q5_0));
            assertThat(formats(plain, QuantFormat.Q8_0)).containsExactlyInAnyOrderEntriesOf(Map.of("model.embed_tokens.weight", QuantFormat.Q8_0,
                    "a.weight", QuantFormat.Q8_0, "b.weight", QuantFormat.Q8_0));
        }
    }

    private static Map<String, QuantFormat> formats(WeightSource source, QuantFormat wanted) {
        try (QuantizedWeights weights = QuantizedWeights.of(source, wanted, Quantizer::quantize)) {
            return Map.copyOf(weights.formats());
        }
    }

    /** Property: one file or several, the type of the weights and the cache change nothing: the bytes are those of the scalar definition. */
    @ParameterizedTest
    @EnumSource(value = DType.class, names = {"F32", "F16", "BF16"})
    void shardsAndCacheGiveTheSameBytes(DType dtype) throws IOException {
        write(folder, dtype, 2);
        Map<String, String> expected = content(null);
        assertThat(content(Place.MODEL)).as("made").isEqualTo(expected);
        Path cache = cacheFile(folder);
        FileTime time = Files.getLastModifiedTime(cache);
        assertThat(content(Place.MODEL)).as("taken").isEqualTo(expected);
        assertThat(Files.getLastModifiedTime(cache)).isEqualTo(time);
        assertThat(content(Place.USER)).as("in the user's folder").isEqualTo(expected);
        assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(folder.resolve("user")))).isEqualTo("rwx------");
        assertThat(remarks).isEmpty();
    }

    /** Property: one wrong bit anywhere is noticed, said, and mended. */
    @ParameterizedTest
    @ValueSource(doubles = {0, 0.0005, 0.01, 0.3, 0.7, 0.99, 1})
    void damageIsNoticed(double where) throws IOException {
        write(folder, DType.F32, 1);
        Map<String, String> expected = content(Place.MODEL);
        Path cache = cacheFile(folder);
        byte[] bytes = Files.readAllBytes(cache);
        bytes[(int) (where * (bytes.length - 1))] ^= 4;
        Files.write(cache, bytes);
        assertThat(content(Place.MODEL)).isEqualTo(expected);
        assertThat(remarks).hasSize(1).allMatch(line -> line.startsWith("warning  QNT-003"));
        remarks.clear();
        assertThat(content(Place.MODEL)).isEqualTo(expected);
        assertThat(remarks).isEmpty();
    }

    /** Property: a file cut short, of length 0, or that others can write, is not used. */
    @Test
    void foreignAndTruncatedFilesAreRefused() throws IOException {
        write(folder, DType.F32, 1);
        Map<String, String> expected = content(Place.MODEL);
        Path cache = cacheFile(folder);
        byte[] bytes = Files.readAllBytes(cache);
        for (int length : new int[] {0, 15, 16, 4000, bytes.length - 1}) {
            Files.write(cache, java.util.Arrays.copyOf(bytes, length));
            assertThat(content(Place.MODEL)).isEqualTo(expected);
            assertThat(remarks).hasSize(1).allMatch(line -> line.contains("QNT-003") && line.contains("cut short"));
            remarks.clear();
        }
        Files.setPosixFilePermissions(cache, PosixFilePermissions.fromString("rw-rw-rw-"));
        assertThat(content(Place.MODEL)).isEqualTo(expected);
        assertThat(remarks).hasSize(1).allMatch(line -> line.contains("others can write"));
    }

    /** Property: other weights under the same name never meet an old cache, and do not leave it behind. */
    @Test
    void changedWeightsMakeANewCache() throws IOException {
        write(folder, DType.F32, 1);
        content(Place.MODEL);
        Path old = cacheFile(folder);
        Path file = folder.resolve("model.safetensors");
        FileTime time = Files.getLastModifiedTime(file);
        byte[] bytes = Files.readAllBytes(file);
        bytes[bytes.length - 1] ^= 1; // same size, same time
        Files.write(file, bytes);
        Files.setLastModifiedTime(file, time);
        Map<String, String> expected = content(null);
        assertThat(content(Place.MODEL)).isEqualTo(expected);
        assertThat(cacheFile(folder)).isNotEqualTo(old);
        assertThat(old).doesNotExist();
    }

    /** Property: a cache that cannot be kept costs a warning, not the start. */
    @Test
    void whereNothingCanBeWritten() throws IOException {
        write(folder, DType.F32, 1);
        Files.writeString(folder.resolve("user"), "a file where the folder should be");
        assertThat(content(Place.USER)).isEqualTo(content(null));
        assertThat(remarks).hasSize(1).allMatch(line -> line.startsWith("warning  QNT-004"));
    }

    /** Property: a quantised file is not quantised again, and the message says what to do. */
    @Test
    void quantisedFilesAreRefused() {
        Path models = TestData.require("models/stories260K");
        try (GgufFile file = GgufFile.open(models.resolve("gguf/stories260K-Q8_0.gguf"))) {
            var source = new GgufWeights(file, 8, 4);
            assertThatThrownBy(() -> QuantizedWeights.of(source, QuantFormat.Q4_K, Quantizer::quantize)).isInstanceOf(EngineException.class)
                    .hasMessageContainingAll("QNT-001", "Q8_0", "leave --quantization off");
            source.close();
        }
    }

    private final List<String> remarks = new ArrayList<>();

    /** All tensors in hex, with the cache at {@code place} or without one. */
    private Map<String, String> content(Place place) {
        Map<String, String> content = new TreeMap<>();
        try (Checkpoint plain = Checkpoint.open(folder); Backend backend = Backends.create("cpu", new BatchLimits(1, 1, 1, 1, 0), 2);
                QuantizedWeights weights = QuantizedWeights.of(plain, QuantFormat.Q4_K, place == null ? Quantizer::quantize : backend::quantize)) {
            if (place != null) {
                remarks.addAll(QuantizationCache.use(weights, place, folder.resolve("user")));
            }
            for (String name : weights.names()) {
                StoredTensor tensor = weights.tensor(name).orElseThrow();
                content.put(name, tensor.type() + " " + tensor.shape() + " " + HexFormat.of().formatHex(tensor.data().toArray(ValueLayout.JAVA_BYTE)));
                weights.release();
            }
            return content;
        }
    }

    private static Path cacheFile(Path folder) throws IOException {
        try (var files = Files.list(folder)) {
            return files.filter(file -> file.getFileName().toString().endsWith(".cache")).reduce((a, b) -> {
                throw new AssertionError("two caches: " + a + ", " + b);
            }).orElseThrow();
        }
    }

    /** A few random tensors, in one file or one each in shards. */
    private static void write(Path folder, DType dtype, int shards) throws IOException {
        Map<String, int[]> shapes = new LinkedHashMap<>();
        shapes.put("model.embed_tokens.weight", new int[] {50, 256});
        shapes.put("a.weight", new int[] {20, 512});
        shapes.put("b.weight", new int[] {7, 96});
        shapes.put("narrow.weight", new int[] {3, 20});
        shapes.put("norm.weight", new int[] {256});
        Random random = new Random(5);
        List<List<String>> headers = new ArrayList<>();
        List<ByteBuffer> datas = new ArrayList<>();
        List<String> index = new ArrayList<>();
        for (int i = 0; i < shards; i++) {
            headers.add(new ArrayList<>());
            datas.add(ByteBuffer.allocate(1 << 20).order(ByteOrder.LITTLE_ENDIAN));
        }
        int next = 0;
        for (Map.Entry<String, int[]> entry : shapes.entrySet()) {
            int shard = next++ % shards;
            ByteBuffer data = datas.get(shard);
            int begin = data.position();
            int elements = java.util.Arrays.stream(entry.getValue()).reduce(1, (a, b) -> a * b);
            for (int i = 0; i < elements; i++) {
                dtype.store(MemorySegment.ofBuffer(data.slice()), 0, (float) random.nextGaussian());
                data.position(data.position() + dtype.bytes());
            }
            headers.get(shard).add("\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%d,%d]}".formatted(entry.getKey(), dtype,
                    java.util.Arrays.toString(entry.getValue()), begin, data.position()));
            index.add("\"" + entry.getKey() + "\":\"model-" + shard + ".safetensors\"");
        }
        for (int i = 0; i < shards; i++) {
            byte[] header = ("{" + String.join(",", headers.get(i)) + "}").getBytes(StandardCharsets.UTF_8);
            ByteBuffer data = datas.get(i).flip();
            ByteBuffer file = ByteBuffer.allocate(8 + header.length + data.remaining()).order(ByteOrder.LITTLE_ENDIAN);
            Files.write(folder.resolve(shards == 1 ? "model.safetensors" : "model-" + i + ".safetensors"), file.putLong(header.length).put(header).put(data)
                    .array());
        }
        if (shards > 1) {
            Files.writeString(folder.resolve("model.safetensors.index.json"), "{\"weight_map\":{" + String.join(",", index) + "}}");
        }
    }
}

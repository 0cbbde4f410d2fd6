package io.millrace.engine;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.engine.weights.Checkpoint;
import io.millrace.engine.weights.StoredTensor;
import io.millrace.kernels.DType;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Checkpoints and caches in float32, float16 and bfloat16. */
class WeightTypesTest {
    private static final int[] TEXT = {1, 403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426, 338, 401, 396};

    @TempDir
    Path folder;

    static Stream<Arguments> types() {
        return TestBackends.names().flatMap(backend -> Stream.of(DType.BF16, DType.F16).map(type -> Arguments.of(backend, type)));
    }

    /** Property: a 16-bit checkpoint computes what its values computed as float32: nothing but the storage is narrow. */
    @ParameterizedTest(name = "{0} {1}")
    @MethodSource("types")
    void narrowStorageOnly(String backend, DType type) throws IOException {
        Path source = TestData.require("models/stories260K/hf-fp32");
        Path narrow = rewrite(source, Files.createDirectory(folder.resolve("narrow")), type, type);
        Path wide = rewrite(source, Files.createDirectory(folder.resolve("wide")), type, DType.F32);
        assertThat(difference(logits(narrow, backend, DType.F32), logits(wide, backend, DType.F32))).isLessThan(2e-4);
    }

    /** Property: a 16-bit KV cache moves the logits by rounding only: float16, with 3 bits more, by less than bfloat16. */
    @ParameterizedTest(name = "{0} {1}")
    @MethodSource("types")
    void narrowCache(String backend, DType type) {
        Path source = TestData.require("models/stories260K/hf-fp32");
        double moved = difference(logits(source, backend, type), logits(source, backend, DType.F32));
        System.out.printf("%s KV cache on %s: logits move by at most %.1e%n", type, backend, moved);
        assertThat(moved).isPositive().isLessThan(type == DType.BF16 ? 0.15 : 0.02);
    }

    private static float[][] logits(Path model, String backend, DType cache) {
        try (LogitsProbe probe = new LogitsProbe(model, backend, cache, 128)) {
            return probe.logits(TEXT, TEXT.length);
        }
    }

    private static double difference(float[][] a, float[][] b) {
        double worst = 0;
        for (int p = 0; p < a.length; p++) {
            for (int id = 0; id < a[p].length; id++) {
                worst = Math.max(worst, Math.abs(a[p][id] - b[p][id]));
            }
        }
        return worst;
    }

    /** Rounds every value of the checkpoint to {@code rounded} and stores it as {@code stored}. */
    private static Path rewrite(Path source, Path target, DType rounded, DType stored) throws IOException {
        Files.copy(source.resolve("config.json"), target.resolve("config.json"));
        List<String> entries = new ArrayList<>();
        ByteArrayOutputStream data = new ByteArrayOutputStream();
        try (Checkpoint checkpoint = Checkpoint.open(source)) {
            for (String name : checkpoint.names()) {
                StoredTensor tensor = checkpoint.tensor(name).orElseThrow();
                MemorySegment values = tensor.data();
                int elements = (int) tensor.numElements();
                MemorySegment one = MemorySegment.ofArray(new byte[4]);
                MemorySegment out = MemorySegment.ofArray(new byte[elements * stored.bytes()]);
                for (int i = 0; i < elements; i++) {
                    rounded.store(one, 0, DType.F32.load(values, i));
                    stored.store(out, i, rounded.load(one, 0));
                }
                int begin = data.size();
                data.write((byte[]) out.heapBase().orElseThrow());
                entries.add("\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%d,%d]}".formatted(name, stored, tensor.shape(), begin,
                        data.size()));
            }
        }
        byte[] header = ("{" + String.join(",", entries) + "}").getBytes(StandardCharsets.UTF_8);
        ByteBuffer file = ByteBuffer.allocate(8 + header.length + data.size()).order(ByteOrder.LITTLE_ENDIAN);
        Files.write(target.resolve("model.safetensors"), file.putLong(header.length).put(header).put(data.toByteArray()).array());
        return target;
    }
}

package io.millrace.engine.weights;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.millrace.engine.EngineException;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The header is untrusted: whatever stands in it, the answer is an EngineException with a code, or a file whose every slice is inside it. */
class SafetensorsFileTest {
    private static final String VALID = """
            {"__metadata__":{"format":"pt"},"a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},\
            "b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"none":{"dtype":"F16","shape":[0,7],"data_offsets":[32,32]},\
            "scalar":{"dtype":"I64","shape":[],"data_offsets":[32,40]}}""";

    @TempDir
    Path folder;

    /** Property: names, types, shapes and bytes come out as written; the header may be padded with spaces. */
    @Test
    void validFile() throws IOException {
        Path file = SafetensorsBytes.write(folder.resolve("model.safetensors"), VALID + "   ", 40);
        try (SafetensorsFile opened = SafetensorsFile.open(file)) {
            assertThat(opened.tensors().keySet()).containsExactly("a.weight", "b", "none", "scalar");
            TensorInfo b = opened.tensors().get("b");
            assertThat(b).isEqualTo(new TensorInfo("b", StorageType.BF16, List.of(4L), 24, 32));
            assertThat(opened.data(b).toArray(ValueLayout.JAVA_BYTE)).containsExactly(24, 25, 26, 27, 28, 29, 30, 31);
        }
    }

    /** Property: metadata costs no heap, however much of it there is: 40,000 distinct entries are read within what the bytes take. */
    @Test
    void metadataIsNotKept() throws IOException {
        StringBuilder header = new StringBuilder("{\"__metadata__\":{\"k\":\"v\"");
        for (int i = 0; i < 40_000; i++) {
            header.append(",\"").append(i).append("\":\"").append("0123456789".repeat(10)).append(i).append('"');
        }
        Path file = SafetensorsBytes.write(folder.resolve("model.safetensors"), header + "}}", 0);
        var threads = (com.sun.management.ThreadMXBean) java.lang.management.ManagementFactory.getThreadMXBean();
        SafetensorsFile.open(file).close();
        long before = threads.getCurrentThreadAllocatedBytes();
        SafetensorsFile.open(file).close();
        assertThat(threads.getCurrentThreadAllocatedBytes() - before).isLessThan(Files.size(file) + 40_000 * 80L);
    }

    /** Property: each way in which a header can be wrong has its own code, and the message names the tensor. */
    @ParameterizedTest(name = "{0}: {2}")
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            ST-003 | not an object          | [1,2]
            ST-003 | no JSON                | {"a":
            ST-003 | JSON after the end     | {} {}
            ST-003 | tensor is no object    | {"a":1}
            ST-003 | metadata no strings    | {"__metadata__":{"a":1}}
            ST-003 | name twice             | {"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}
            ST-003 | value beyond long      | {"a":{"dtype":"U8","shape":[99999999999999999999],"data_offsets":[0,8]}}
            ST-003 | number of 30 digits    | {"a":{"dtype":"U8","shape":[999999999999999999999999999999],"data_offsets":[0,8]}}
            ST-003 | fraction               | {"a":{"dtype":"U8","shape":[8.0],"data_offsets":[0,8]}}
            ST-003 | deep nesting           | {"a":[[[[[[[[[[[[]]]]]]]]]]]]}
            ST-004 | unknown dtype          | {"a":{"dtype":"F12","shape":[8],"data_offsets":[0,8]}}
            ST-004 | key missing            | {"a":{"dtype":"U8","shape":[8]}}
            ST-004 | unknown key            | {"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8],"x":1}}
            ST-004 | negative dimension     | {"a":{"dtype":"U8","shape":[-8],"data_offsets":[0,8]}}
            ST-004 | negative offset        | {"a":{"dtype":"U8","shape":[8],"data_offsets":[-1,7]}}
            ST-004 | three offsets          | {"a":{"dtype":"U8","shape":[8],"data_offsets":[0,4,8]}}
            ST-004 | one offset             | {"a":{"dtype":"U8","shape":[8],"data_offsets":[8]}}
            ST-004 | rank 17                | {"a":{"dtype":"U8","shape":[8,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,8]}}
            ST-005 | bytes disagree         | {"a":{"dtype":"F32","shape":[8],"data_offsets":[0,8]}}
            ST-005 | product overflows      | {"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,8]}}
            ST-005 | product wraps to 8     | {"a":{"dtype":"F32","shape":[2,4611686018427387905],"data_offsets":[0,8]}}
            ST-005 | offsets swapped        | {"a":{"dtype":"U8","shape":[8],"data_offsets":[8,0]}}
            ST-005 | half a byte            | {"a":{"dtype":"F4","shape":[15],"data_offsets":[0,7]}}
            ST-006 | beyond the file        | {"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}
            ST-006 | far beyond the file    | {"a":{"dtype":"U8","shape":[8],"data_offsets":[9223372036854775799,9223372036854775807]}}
            ST-007 | overlap                | {"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}
            ST-007 | hole                   | {"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[3],"data_offsets":[5,8]}}
            ST-007 | hole at the start      | {"a":{"dtype":"U8","shape":[7],"data_offsets":[1,8]}}
            ST-007 | bytes left over        | {"a":{"dtype":"U8","shape":[7],"data_offsets":[0,7]}}
            """)
    void wrongHeader(String code, String what, String header) throws IOException {
        Path file = SafetensorsBytes.write(folder.resolve("model.safetensors"), header, 8);
        EngineException thrown = catchThrowableOfType(EngineException.class, () -> SafetensorsFile.open(file));
        assertThat(thrown).as(what).isNotNull().hasMessageContaining(file.toString());
        assertThat(thrown.code()).isEqualTo(code);
        if (code.compareTo("ST-003") > 0) {
            assertThat(thrown).hasMessageMatching("(?s).*tensor '[ab]'.*");
        }
    }

    /** Property: a header length that is zero, huge, negative or past the end is refused before anything is read or allocated. */
    @Test
    void wrongHeaderLength() throws IOException {
        for (long length : new long[] {0, 1, 41, 1L << 40, Long.MAX_VALUE, -1, Long.MIN_VALUE}) {
            Path file = SafetensorsBytes.write(folder.resolve("model.safetensors"), length, "{}".getBytes(StandardCharsets.UTF_8), 38);
            assertThatThrownBy(() -> SafetensorsFile.open(file)).as("length %d", length).isInstanceOf(EngineException.class)
                    .hasMessageContaining("ST-002").hasMessageContaining(Long.toUnsignedString(length));
        }
        Path sparse = folder.resolve("sparse.safetensors");
        try (RandomAccessFile file = new RandomAccessFile(sparse.toFile(), "rw")) {
            file.write(new byte[] {0, 0, 0, 0, 2, 0, 0, 0});
            file.setLength(16L << 30);
        }
        assertThatThrownBy(() -> SafetensorsFile.open(sparse)).hasMessageContaining("ST-002").hasMessageContaining("8589934592");
    }

    /** Property: files too short to be anything, folders and missing files are ST-001. */
    @Test
    void unreadable() throws IOException {
        Path tiny = Files.write(folder.resolve("tiny.safetensors"), new byte[7]);
        for (Path path : List.of(tiny, folder, folder.resolve("absent.safetensors"))) {
            assertThatThrownBy(() -> SafetensorsFile.open(path)).isInstanceOf(EngineException.class).hasMessageContaining("ST-001");
        }
    }

    /** Property: thousands of mutated headers are each taken with all ranges inside the data, or refused with EngineException; nothing else. */
    @Test
    @Timeout(60)
    void mutatedHeaders() {
        Random random = new Random(20261122);
        int taken = 0;
        for (int i = 0; i < 20_000; i++) {
            int dataBytes = random.nextInt(5) == 0 ? random.nextInt(48) : 40;
            try {
                SafetensorsHeader header = SafetensorsHeader.parse(Path.of("fuzzed"), mutated(random), dataBytes);
                assertThat(header.tensors().values()).allMatch(t -> 0 <= t.begin() && t.begin() <= t.end() && t.end() <= dataBytes);
                taken++;
            } catch (EngineException e) {
                assertThat(e.code()).startsWith("ST-00");
            }
        }
        assertThat(taken).as("mutations that leave a valid header").isBetween(1, 10_000);
    }

    /** Property: the same for whole files, header length included. Fewer, since each is mapped. */
    @Test
    @Timeout(60)
    void mutatedFiles() throws IOException {
        Random random = new Random(7);
        for (int i = 0; i < 300; i++) {
            byte[] json = mutated(random);
            long length = random.nextInt(2) == 0 ? random.nextLong() >>> random.nextInt(64) : json.length;
            Path file = SafetensorsBytes.write(folder.resolve("model.safetensors"), length, json, random.nextInt(64));
            try (SafetensorsFile opened = SafetensorsFile.open(file)) {
                opened.tensors().values().forEach(tensor -> opened.data(tensor).toArray(ValueLayout.JAVA_BYTE));
            } catch (EngineException e) {
                assertThat(e.code()).startsWith("ST-00");
            }
        }
    }

    private static byte[] mutated(Random random) {
        String[] snippets = {"-1", "0", "18446744073709551615", "9223372036854775807", "1e999", "{", "}", "[", "]", "\"", ",", ":", "null", "true",
            "\\u0000", "\"a.weight\"", "\"data_offsets\":[0,24]", "\"shape\":[]", "F64", "__metadata__", "\u00e9", " "};
        byte[] json = VALID.getBytes(StandardCharsets.UTF_8);
        for (int edits = 1 + random.nextInt(3); edits > 0; edits--) {
            json = mutate(json, random, snippets);
        }
        return json;
    }

    private static byte[] mutate(byte[] json, Random random, String[] snippets) {
        if (json.length == 0) {
            return json;
        }
        int at = random.nextInt(json.length);
        int cut = random.nextInt(3) == 0 ? Math.min(json.length - at, 1 + random.nextInt(12)) : 0;
        byte[] insert = switch (random.nextInt(4)) {
            case 0 -> new byte[] {(byte) random.nextInt(256)};
            case 1 -> new byte[0];
            default -> snippets[random.nextInt(snippets.length)].getBytes(StandardCharsets.UTF_8);
        };
        byte[] result = new byte[json.length - cut + insert.length];
        System.arraycopy(json, 0, result, 0, at);
        System.arraycopy(insert, 0, result, at, insert.length);
        System.arraycopy(json, at + cut, result, at + insert.length, json.length - at - cut);
        return result;
    }
}

package io.millrace.engine.weights;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.millrace.engine.EngineException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Guards: a GGUF header is read as written, and no file, however damaged, gives anything but a result or an {@link EngineException}. */
class GgufFileTest {
    private static final int STRING = 8;
    private static final int ARRAY = 9;

    @TempDir
    Path folder;

    private final ByteBuffer out = ByteBuffer.allocate(1 << 16).order(ByteOrder.LITTLE_ENDIAN);

    @BeforeEach
    void emptyBuffer() {
        out.clear();
    }

    private void string(String text) {
        byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
        out.putLong(utf8.length).put(utf8);
    }

    private void tensor(String name, int type, long offset, long... fileOrderShape) {
        string(name);
        out.putInt(fileOrderShape.length);
        for (long length : fileOrderShape) {
            out.putLong(length);
        }
        out.putInt(type).putLong(offset);
    }

    private void header(int version, long numTensors, long numKeys) {
        out.put("GGUF".getBytes(StandardCharsets.US_ASCII)).putInt(version).putLong(numTensors).putLong(numKeys);
    }

    /** Keys of every kind and two tensors: "a" F32 [2, 3], "b" Q8_0 [1, 32]. */
    private byte[] sample() {
        header(3, 2, 6);
        string("general.architecture");
        out.putInt(STRING);
        string("llama");
        string("u8");
        out.putInt(0).put((byte) 200);
        string("i64");
        out.putInt(11).putLong(-5);
        string("f32");
        out.putInt(6).putFloat(1.5f);
        string("bool");
        out.putInt(7).put((byte) 1);
        string("list");
        out.putInt(ARRAY).putInt(STRING).putLong(2);
        string("x");
        string("y");
        tensor("a", 0, 0, 3, 2);
        tensor("b", 8, 32, 32, 1);
        out.position((out.position() + 31) / 32 * 32);
        for (int i = 0; i < 6; i++) {
            out.putFloat(i);
        }
        out.position(out.position() + 8 + 34);
        return Arrays.copyOf(out.array(), out.position());
    }

    private Path write(byte[] bytes) {
        try {
            return Files.write(folder.resolve("model.gguf"), bytes);
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    private void refused(String code) {
        Path file = write(Arrays.copyOf(out.array(), out.position()));
        assertThatThrownBy(() -> GgufFile.open(file).close()).isInstanceOf(EngineException.class).hasMessageStartingWith(code);
    }

    /** Property: version 2, which differs from 3 in nothing that is read here, is read as 3 is. */
    @Test
    void versionTwo() {
        byte[] bytes = sample();
        assertThat(bytes[4]).isEqualTo((byte) 3);
        Map<String, GgufTensor> tensors;
        Set<String> keys;
        try (GgufFile three = GgufFile.open(write(bytes))) {
            tensors = three.tensors();
            keys = three.metadata().values().keySet();
        }
        bytes[4] = 2;
        try (GgufFile two = GgufFile.open(write(bytes))) {
            assertThat(two.tensors()).isEqualTo(tensors);
            assertThat(two.metadata().values().keySet()).isEqualTo(keys);
            assertThat(two.metadata().integer("i64")).contains(-5L);
        }
    }

    @Test
    void headerIsReadAsWritten() {
        try (GgufFile file = GgufFile.open(write(sample()))) {
            assertThat(file.metadata().string("general.architecture")).contains("llama");
            assertThat(file.metadata().integer("u8")).contains(200L);
            assertThat(file.metadata().integer("i64")).contains(-5L);
            assertThat(file.metadata().number("f32")).contains(1.5);
            assertThat(file.metadata().bool("bool")).contains(true);
            assertThat(file.metadata().strings("list").orElseThrow()).containsExactly("x", "y");
            assertThat(file.metadata().string("absent")).isEmpty();
            assertThatThrownBy(() -> file.metadata().string("u8")).isInstanceOf(EngineException.class).hasMessageStartingWith("GGUF-004");
            GgufTensor a = file.tensors().get("a");
            assertThat(a.shape()).containsExactly(2L, 3L);
            assertThat(io.millrace.kernels.DType.F32.load(file.data(a), 5)).isEqualTo(5f);
            assertThat(file.tensors().get("b").byteSize()).isEqualTo(34);
        }
    }

    /** One way to be wrong after the other, each with its code. */
    @Test
    void wrongHeadersAreRefused() {
        out.put("GGML".getBytes(StandardCharsets.US_ASCII)).putInt(3).putLong(0).putLong(0);
        refused("GGUF-002");
        emptyBuffer();
        header(1, 0, 0);
        refused("GGUF-002");
        emptyBuffer();
        header(Integer.reverseBytes(3), 0, 0);
        refused("GGUF-002");
        emptyBuffer();
        header(3, Long.MAX_VALUE, 0);
        refused("GGUF-003");
        emptyBuffer();
        header(3, 0, 1);
        out.putLong(-1);
        refused("GGUF-003");
        emptyBuffer();
        header(3, 0, 1);
        string("k");
        out.putInt(ARRAY).putInt(4).putLong(1L << 60);
        refused("GGUF-003");
        emptyBuffer();
        header(3, 0, 1);
        string("k");
        out.putInt(ARRAY).putInt(ARRAY).putLong(1).putLong(0);
        refused("GGUF-004");
        emptyBuffer();
        header(3, 0, 1);
        string("k");
        out.putInt(99).putLong(0);
        refused("GGUF-004");
        emptyBuffer();
        header(3, 1, 0);
        tensor("t", 0, 0, 1L << 40, 1L << 40);
        refused("GGUF-005");
        emptyBuffer();
        header(3, 1, 0);
        tensor("t", 77, 0, 32);
        refused("GGUF-005");
        emptyBuffer();
        header(3, 1, 0);
        tensor("t", 8, 0, 33);
        refused("GGUF-005");
        emptyBuffer();
        header(3, 1, 0);
        tensor("t", 0, 0, 1 << 20);
        refused("GGUF-006");
        emptyBuffer();
        header(3, 2, 0);
        tensor("t", 0, 0, 16);
        tensor("u", 0, 32, 16);
        out.position(out.position() + 256);
        refused("GGUF-006");
    }

    /** Property: a file that ends within its first bytes is told to be cut short, not to be of another kind; other files are not. */
    @Test
    void cutWithinTheFirstBytes() {
        byte[] whole = sample();
        for (int length = 0; length < 24; length++) {
            Path file = write(Arrays.copyOf(whole, length));
            assertThatThrownBy(() -> GgufFile.open(file).close()).isInstanceOf(EngineException.class).hasMessageStartingWith("GGUF-003")
                    .hasMessageContaining(length == 0 ? "is empty" : "ends after " + length + " bytes").hasMessageContaining("download it again");
        }
        for (String other : new String[] {"P", "GGML", "GGLL and more than twenty-four bytes of it"}) {
            Path file = write(other.getBytes(StandardCharsets.US_ASCII));
            assertThatThrownBy(() -> GgufFile.open(file).close()).hasMessageStartingWith("GGUF-002").hasMessageContaining("does not begin with 'GGUF'");
        }
    }

    /** Every cut and thousands of random changes of bytes: a result or an EngineException, nothing else. */
    @Test
    void damagedFilesGiveErrorsOnly() {
        byte[] whole = sample();
        for (int length = 0; length < whole.length; length++) {
            openAny(Arrays.copyOf(whole, length), "cut at " + length);
        }
        Random random = new Random(20261122);
        int refused = 0;
        for (int round = 0; round < 5_000; round++) {
            byte[] damaged = whole.clone();
            for (int i = random.nextInt(4); i >= 0; i--) {
                damaged[random.nextInt(damaged.length)] = (byte) (random.nextBoolean() ? random.nextInt(256) : random.nextBoolean() ? 0xff : 0x7f);
            }
            refused += openAny(damaged, "round " + round) ? 0 : 1;
        }
        assertThat(refused).isBetween(500, 4_900);
    }

    private boolean openAny(byte[] bytes, String what) {
        try (GgufFile file = GgufFile.open(write(bytes))) {
            file.tensors().values().forEach(tensor -> file.data(tensor).get(java.lang.foreign.ValueLayout.JAVA_BYTE, tensor.byteSize() - 1));
            return true;
        } catch (EngineException e) {
            assertThat(e.code()).as(what).startsWith("GGUF-");
            return false;
        }
    }
}

package io.millrace.engine.weights;

import io.millrace.kernels.WeightFormat;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/** Writes GGUF files, version 3, after the format's description alone: what the reader is tested with. */
public final class GgufBytes {
    private static final int ALIGNMENT = 32;

    private final Map<String, Object> metadata = new LinkedHashMap<>();
    private final Map<String, Tensor> tensors = new LinkedHashMap<>();

    /** @param shape outermost dimension first */
    private record Tensor(int type, long[] shape, byte[] data) {}

    /** Integer (as u32), Float, Boolean, String, or an array of int, float, boolean or String. */
    public GgufBytes put(String key, Object value) {
        metadata.put(key, value);
        return this;
    }

    public Object get(String key) {
        return metadata.get(key);
    }

    public GgufBytes remove(String key) {
        metadata.remove(key);
        return this;
    }

    public GgufBytes floats(String name, float[] values) {
        return tensor(name, "F32", new long[] {values.length}, bytes(MemorySegment.ofArray(values)));
    }

    public GgufBytes tensor(String name, WeightFormat format, long[] shape, MemorySegment data) {
        return tensor(name, format.name(), shape, bytes(data));
    }

    /** @param type a constant of {@link GgmlType} */
    public GgufBytes tensor(String name, String type, long[] shape, byte[] data) {
        tensors.put(name, new Tensor(code(type), shape, data));
        return this;
    }

    public GgufBytes removeTensor(String name) {
        tensors.remove(name);
        return this;
    }

    public Path write(Path file) throws IOException {
        return Files.write(file, toBytes());
    }

    public byte[] toBytes() {
        int size = 64 + metadata.entrySet().stream().mapToInt(e -> 32 + 3 * e.getKey().length() + size(e.getValue())).sum()
                + tensors.entrySet().stream().mapToInt(e -> 128 + 3 * e.getKey().length() + e.getValue().data().length).sum();
        ByteBuffer out = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
        out.put("GGUF".getBytes(StandardCharsets.US_ASCII)).putInt(3).putLong(tensors.size()).putLong(metadata.size());
        metadata.forEach((key, value) -> {
            string(out, key);
            value(out, value);
        });
        long offset = 0;
        for (Map.Entry<String, Tensor> entry : tensors.entrySet()) {
            Tensor tensor = entry.getValue();
            string(out, entry.getKey());
            out.putInt(tensor.shape().length);
            for (int i = tensor.shape().length - 1; i >= 0; i--) {
                out.putLong(tensor.shape()[i]);
            }
            out.putInt(tensor.type()).putLong(offset);
            offset = aligned(offset + tensor.data().length);
        }
        for (Tensor tensor : tensors.values()) {
            out.position((int) aligned(out.position()));
            out.put(tensor.data());
        }
        byte[] bytes = new byte[out.position()];
        out.flip().get(bytes);
        return bytes;
    }

    private static long aligned(long position) {
        return (position + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }

    private static byte[] bytes(MemorySegment data) {
        return data.toArray(ValueLayout.JAVA_BYTE);
    }

    private static int code(String type) {
        return switch (type) {
            case "F32" -> 0;
            case "F16" -> 1;
            case "Q4_0" -> 2;
            case "Q4_1" -> 3;
            case "Q5_0" -> 6;
            case "Q5_1" -> 7;
            case "Q8_0" -> 8;
            case "Q2_K" -> 10;
            case "Q3_K" -> 11;
            case "Q4_K" -> 12;
            case "Q5_K" -> 13;
            case "Q6_K" -> 14;
            case "IQ4_NL" -> 20;
            case "IQ4_XS" -> 23;
            case "BF16" -> 30;
            default -> throw new IllegalArgumentException(type);
        };
    }

    private static void string(ByteBuffer out, String text) {
        byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
        out.putLong(utf8.length).put(utf8);
    }

    private static void value(ByteBuffer out, Object value) {
        switch (value) {
            case Integer i -> out.putInt(4).putInt(i);
            case Float f -> out.putInt(6).putFloat(f);
            case Boolean b -> out.putInt(7).put((byte) (b ? 1 : 0));
            case String s -> string(out.putInt(8), s);
            case int[] list -> {
                out.putInt(9).putInt(5).putLong(list.length);
                for (int i : list) {
                    out.putInt(i);
                }
            }
            case float[] list -> {
                out.putInt(9).putInt(6).putLong(list.length);
                for (float f : list) {
                    out.putFloat(f);
                }
            }
            case boolean[] list -> {
                out.putInt(9).putInt(7).putLong(list.length);
                for (boolean b : list) {
                    out.put((byte) (b ? 1 : 0));
                }
            }
            case String[] list -> {
                out.putInt(9).putInt(8).putLong(list.length);
                for (String s : list) {
                    string(out, s);
                }
            }
            default -> throw new IllegalArgumentException(String.valueOf(value));
        }
    }

    private static int size(Object value) {
        return switch (value) {
            case String s -> 16 + 3 * s.length();
            case int[] list -> 4 * list.length;
            case float[] list -> 4 * list.length;
            case boolean[] list -> list.length;
            case String[] list -> java.util.Arrays.stream(list).mapToInt(s -> 16 + 3 * s.length()).sum();
            default -> 8;
        };
    }
}

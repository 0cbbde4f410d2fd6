package io.millrace.engine.weights;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Collectors;

/** Writes safetensors files, right and wrong ones. */
public final class SafetensorsBytes {
    private SafetensorsBytes() {}

    /** A file of the given header text and {@code dataBytes} bytes of data 0, 1, 2, ... */
    public static Path write(Path file, String header, int dataBytes) throws IOException {
        byte[] json = header.getBytes(StandardCharsets.UTF_8);
        return write(file, json.length, json, dataBytes);
    }

    static Path write(Path file, long headerLength, byte[] json, int dataBytes) throws IOException {
        ByteBuffer buffer = ByteBuffer.allocate(8 + json.length + dataBytes).order(ByteOrder.LITTLE_ENDIAN);
        buffer.putLong(headerLength).put(json);
        for (int i = 0; i < dataBytes; i++) {
            buffer.put((byte) i);
        }
        return Files.write(file, buffer.array());
    }

    /** A correct file of F32 tensors by name and shape, such as {@code "a" -> [2, 3]}. */
    public static Path writeF32(Path file, Map<String, int[]> shapes) throws IOException {
        Map<String, String> entries = new LinkedHashMap<>();
        int offset = 0;
        for (Map.Entry<String, int[]> tensor : shapes.entrySet()) {
            int elements = 1;
            for (int dimension : tensor.getValue()) {
                elements *= dimension;
            }
            entries.put(tensor.getKey(), entry("F32", java.util.Arrays.toString(tensor.getValue()), offset, offset + 4 * elements));
            offset += 4 * elements;
        }
        String header = entries.entrySet().stream().map(e -> '"' + e.getKey() + "\":" + e.getValue()).collect(Collectors.joining(",", "{", "}"));
        return write(file, header, offset);
    }

    static String entry(String dtype, String shape, long begin, long end) {
        return "{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":[" + begin + "," + end + "]}";
    }
}

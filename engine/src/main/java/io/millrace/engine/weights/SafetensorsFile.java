package io.millrace.engine.weights;

import io.millrace.engine.EngineException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;

/**
 * A memory-mapped safetensors file (format: huggingface.co/docs/safetensors). The header is checked whole on opening, the data is
 * read by the page faults of whoever uses it. Thread-safe until {@link #close}, which unmaps: slices must not be used afterwards. The
 * file must not be truncated by others while it is open.
 *
 * <p>Errors: {@code ST-001} unreadable or too short, {@code ST-002} header length, {@code ST-003} header JSON, {@code ST-004} tensor
 * entry, {@code ST-005} size and shape disagree, {@code ST-006} range outside the file, {@code ST-007} overlap or hole.
 */
public final class SafetensorsFile implements AutoCloseable {
    private static final ValueLayout.OfLong U64 = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private final Path file;
    private final Arena arena;
    private final MemorySegment data;
    private final SafetensorsHeader header;

    private SafetensorsFile(Path file, Arena arena, MemorySegment data, SafetensorsHeader header) {
        this.file = file;
        this.arena = arena;
        this.data = data;
        this.header = header;
    }

    /** @throws EngineException {@code ST-001} to {@code ST-007} */
    public static SafetensorsFile open(Path file) {
        if (!Files.isRegularFile(file)) {
            throw new EngineException("ST-001", file + " is not a file; check the model folder");
        }
        Arena arena = Arena.ofShared();
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            long size = channel.size();
            if (size < 8) {
                throw new EngineException("ST-001", file + " has " + size + " bytes; a safetensors file has at least 8. Download it again");
            }
            MemorySegment mapped = channel.map(FileChannel.MapMode.READ_ONLY, 0, size, arena);
            long headerBytes = mapped.get(U64, 0);
            long limit = Math.min(SafetensorsHeader.MAX_HEADER_BYTES, size - 8);
            // A negative value is one above 2^63: as wrong as any other that is too large.
            if (headerBytes < 2 || headerBytes > limit) {
                throw new EngineException("ST-002", file + ": header length " + Long.toUnsignedString(headerBytes) + " is not in [2, " + limit
                        + "] for a file of " + size + " bytes: it is truncated or no safetensors file");
            }
            byte[] json = mapped.asSlice(8, headerBytes).toArray(ValueLayout.JAVA_BYTE);
            MemorySegment data = mapped.asSlice(8 + headerBytes);
            return new SafetensorsFile(file, arena, data, SafetensorsHeader.parse(file, json, data.byteSize()));
        } catch (IOException e) {
            arena.close();
            throw new EngineException("ST-001", file + " cannot be read: " + e.getMessage(), e);
        } catch (RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    public Path path() {
        return file;
    }

    /** All tensors by name, in file order of the header. */
    public Map<String, TensorInfo> tensors() {
        return java.util.Collections.unmodifiableMap(header.tensors());
    }

    /** The mapped bytes of {@code tensor}, little-endian, row-major, of any alignment; borrowed until {@link #close}. */
    public MemorySegment data(TensorInfo tensor) {
        return data.asSlice(tensor.begin(), tensor.byteSize());
    }

    @Override
    public void close() {
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }
}

package io.millrace.engine.weights;

import io.millrace.engine.EngineException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Collections;
import java.util.Map;

/**
 * A memory-mapped GGUF file, version 2 or 3, little-endian (format: ggml's {@code docs/gguf.md}). The header is checked whole on
 * opening; tensor data is read by the page faults of whoever uses it. Thread-safe until {@link #close}, which unmaps.
 *
 * <pre>
 *   magic "GGUF" | version u32 | numTensors u64 | numKeys u64 | keys ... | tensors ... | padding to alignment | data
 * </pre>
 *
 * <p>Errors: {@code GGUF-001} unreadable, {@code GGUF-002} no GGUF file or another version, {@code GGUF-003} header cut short or a
 * length out of range, {@code GGUF-004} metadata, {@code GGUF-005} tensor entry, {@code GGUF-006} tensor outside the file or overlap.
 */
public final class GgufFile implements AutoCloseable {
    private final Path file;
    private final Arena arena;
    private final MemorySegment data;
    private final GgufMetadata metadata;
    private final Map<String, GgufTensor> tensors;

    private GgufFile(Path file, Arena arena, MemorySegment data, GgufHeader header) {
        this.file = file;
        this.arena = arena;
        this.data = data;
        this.metadata = new GgufMetadata(file, header.metadata());
        this.tensors = header.tensors();
    }

    /** @throws EngineException {@code GGUF-001} to {@code GGUF-006} */
    public static GgufFile open(Path file) {
        if (!Files.isRegularFile(file)) {
            throw new EngineException("GGUF-001", file + " is not a file; check the model path");
        }
        Arena arena = Arena.ofShared();
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            MemorySegment mapped = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
            GgufHeader header = GgufHeader.parse(file, mapped);
            return new GgufFile(file, arena, mapped.asSlice(header.dataStart()), header);
        } catch (IOException e) {
            arena.close();
            throw new EngineException("GGUF-001", file + " cannot be read: " + e.getMessage(), e);
        } catch (RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    public Path path() {
        return file;
    }

    public GgufMetadata metadata() {
        return metadata;
    }

    /** All tensors by name, in file order. */
    public Map<String, GgufTensor> tensors() {
        return Collections.unmodifiableMap(tensors);
    }

    /** The mapped bytes of {@code tensor}, in its type's block layout, row-major; borrowed until {@link #close}. */
    public MemorySegment data(GgufTensor tensor) {
        return data.asSlice(tensor.offset(), tensor.byteSize());
    }

    @Override
    public void close() {
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }
}

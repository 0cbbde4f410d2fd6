package io.millrace.engine.weights;

import io.millrace.bindings.CacheFolder;
import io.millrace.engine.EngineException;
import io.millrace.kernels.QuantFormat;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.zip.CRC32C;

/**
 * Rounded weights kept in a file, so that the next start maps them instead of rounding again.
 *
 * <pre>
 *   body: a GGUF file of the rounded tensors | CRC-32C of every 8 MiB of it, u32 each | length of the body, u64 | "MRCACHE1"
 * </pre>
 *
 * The file's name and a key in it hold what it was made from: format, version of the rounding, and of each source file its name, size, time
 * of change, first MiB (the header) and 64 samples. Nothing is believed: the body is checked whole, the tensors must be the ones wanted,
 * and neither the file nor its folder may belong to somebody else or be open to others' writing. What fails is made anew, with a line that says why.
 */
public final class QuantizationCache {
    private static final byte[] MAGIC = "MRCACHE1".getBytes(StandardCharsets.US_ASCII);
    private static final String IDENTITY_KEY = "millrace.cache.identity";
    private static final int CHUNK = 8 << 20;
    private static final int HEAD_SAMPLE = 1 << 20;
    private static final int SAMPLES = 64;
    private static final int SAMPLE_BYTES = 4096;
    private static final int ALIGNMENT = 32;
    private static final ValueLayout.OfInt U32 = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfLong U64 = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    /** Where the file lies: {@code MODEL} in the model's folder (beside the file it came from), {@code USER} in the user's {@link CacheFolder}. */
    public enum Place { MODEL, USER }

    private final QuantizedWeights weights;
    private final Place place;
    private final Path folder;
    private final String prefix;
    private final String identity;

    private QuantizationCache(QuantizedWeights weights, Place place, Path userFolder) throws IOException {
        this.weights = weights;
        this.place = place;
        Path model = weights.path().toAbsolutePath().normalize();
        String format = weights.wanted().name().toLowerCase(Locale.ROOT);
        Path name = model.getFileName();
        if (place == Place.MODEL) {
            folder = Files.isDirectory(model) ? model : model.getParent();
            prefix = "." + (Files.isDirectory(model) ? "" : name + ".") + "millrace-" + format + "-";
        } else {
            folder = userFolder;
            prefix = (name == null ? "model" : name) + "-" + sha256(model.toString().getBytes(StandardCharsets.UTF_8)).substring(0, 8) + "-" + format + "-";
        }
        identity = identity(weights);
    }

    /**
     * Gives {@code weights} its cache: takes what is there, or makes it. A cache that can be neither used nor made costs time and no more.
     *
     * @return what happened, for people; what went wrong begins with {@code warning}
     */
    public static List<String> use(QuantizedWeights weights, Place place) {
        return use(weights, place, CacheFolder.root().resolve("weights"));
    }

    static List<String> use(QuantizedWeights weights, Place place, Path userFolder) {
        String warning = "";
        try {
            QuantizationCache cache = new QuantizationCache(weights, place, userFolder);
            Path file = cache.folder.resolve(cache.prefix + cache.identity.substring(0, 16) + ".cache");
            if (Files.exists(file)) {
                try {
                    weights.useCache(cache.open(file, true));
                    return List.of();
                } catch (IOException | EngineException e) {
                    warning = "warning  QNT-003: the cache of rounded weights is made anew: " + e.getMessage();
                }
            }
            weights.useCache(cache.make(file));
        } catch (IOException e) {
            return List.of("warning  QNT-004: rounded weights are not kept: " + e + "; make room or choose another --quantization-cache");
        }
        return warning.isEmpty() ? List.of() : List.of(warning);
    }

    private GgufFile open(Path file, boolean verify) throws IOException {
        if (place == Place.USER) {
            CacheFolder.requirePrivate(folder);
        }
        CacheFolder.requireClosed(file);
        requireOwner(file);
        if (verify) {
            verify(file);
        }
        GgufFile gguf = GgufFile.open(file);
        try {
            if (!gguf.metadata().string(IDENTITY_KEY).orElse("").equals(identity)) {
                throw new IOException(file + " was made from other weights");
            }
            if (!gguf.tensors().keySet().equals(weights.formats().keySet())) {
                throw new IOException(file + " holds other tensors than the model");
            }
            for (Map.Entry<String, QuantFormat> entry : weights.formats().entrySet()) {
                GgufTensor tensor = gguf.tensors().get(entry.getKey());
                if (tensor.type() != GgmlType.of(entry.getValue()) || tensor.byteSize() != weights.byteSize(entry.getKey())
                        || !tensor.shape().equals(weights.source().tensor(entry.getKey()).orElseThrow().shape())) {
                    throw new IOException(file + " holds '" + entry.getKey() + "' in another shape or format");
                }
            }
            return gguf;
        } catch (IOException | RuntimeException e) {
            gguf.close();
            throw e;
        } finally {
            weights.source().release();
        }
    }

    /** The file belongs to this process's user, or to whom the weights belong. Where the system does not tell, its permissions must do. */
    private void requireOwner(Path file) throws IOException {
        if (!file.getFileSystem().supportedFileAttributeViews().contains("owner")) {
            return;
        }
        var owner = Files.getOwner(file);
        Path self = Path.of("/proc/self");
        boolean own = Files.exists(self) ? owner.equals(Files.getOwner(self)) : owner.getName().equals(System.getProperty("user.name"));
        if (!own && !owner.equals(Files.getOwner(weights.files().getFirst()))) {
            throw new IOException(file + " belongs to " + owner.getName() + ", neither to this user nor to the owner of the weights");
        }
    }

    private static void verify(Path file) throws IOException {
        try (Arena arena = Arena.ofShared(); FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            MemorySegment all = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
            long size = all.byteSize();
            long body = size < 16 ? -1 : all.get(U64, size - 16);
            if (body < 0 || body > size || all.asSlice(size - 8).mismatch(MemorySegment.ofArray(MAGIC)) >= 0
                    || body + 4L * Math.ceilDiv(body, (long) CHUNK) + 16 != size) {
                throw new IOException(file + " is cut short or no cache");
            }
            int[] sums = checksums(all.asSlice(0, body));
            for (int i = 0; i < sums.length; i++) {
                if (sums[i] != all.get(U32, body + 4L * i)) {
                    throw new IOException(file + " is damaged between bytes " + (long) i * CHUNK + " and " + Math.min(body, (i + 1L) * CHUNK));
                }
            }
        }
    }

    private static int[] checksums(MemorySegment body) {
        int chunks = Math.toIntExact(Math.ceilDiv(body.byteSize(), (long) CHUNK));
        return IntStream.range(0, chunks).parallel().map(i -> {
            CRC32C crc = new CRC32C();
            crc.update(body.asSlice((long) i * CHUNK, Math.min(CHUNK, body.byteSize() - (long) i * CHUNK)).asByteBuffer());
            return (int) crc.getValue();
        }).toArray();
    }

    /** Written beside its place and moved there, one tensor after the other. What the same model left behind earlier is removed. */
    private GgufFile make(Path file) throws IOException {
        if (place == Place.USER) {
            CacheFolder.requirePrivate(folder);
        }
        Path partial = Files.createTempFile(folder, prefix, ".part");
        try {
            try (FileChannel out = FileChannel.open(partial, StandardOpenOption.WRITE, StandardOpenOption.READ)) {
                writeBody(out);
                long body = out.size();
                int[] sums;
                try (Arena arena = Arena.ofShared()) {
                    sums = checksums(out.map(FileChannel.MapMode.READ_ONLY, 0, body, arena));
                }
                ByteBuffer footer = ByteBuffer.allocate(4 * sums.length + 16).order(ByteOrder.LITTLE_ENDIAN);
                for (int sum : sums) {
                    footer.putInt(sum);
                }
                write(out, footer.putLong(body).put(MAGIC).flip());
            }
            Files.move(partial, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } finally {
            Files.deleteIfExists(partial);
        }
        try (DirectoryStream<Path> old = Files.newDirectoryStream(folder, entry -> entry.getFileName().toString().startsWith(prefix)
                && entry.getFileName().toString().endsWith(".cache") && !entry.equals(file))) {
            for (Path path : old) {
                Files.deleteIfExists(path);
            }
        }
        return open(file, false);
    }

    private void writeBody(FileChannel out) throws IOException {
        GgufHeaderWriter header = new GgufHeaderWriter(weights.formats().size());
        long offset = 0;
        for (Map.Entry<String, QuantFormat> entry : weights.formats().entrySet()) {
            header.tensor(entry.getKey(), weights.source().tensor(entry.getKey()).orElseThrow().shape(), GgmlType.of(entry.getValue()), offset);
            weights.source().release();
            offset = Math.ceilDiv(offset + weights.byteSize(entry.getKey()), (long) ALIGNMENT) * ALIGNMENT;
        }
        write(out, ByteBuffer.wrap(header.bytes(identity)));
        for (String name : weights.formats().keySet()) {
            MemorySegment data = weights.tensor(name).orElseThrow().data();
            for (long at = 0; at < data.byteSize(); at += 1 << 30) {
                write(out, data.asSlice(at, Math.min(1 << 30, data.byteSize() - at)).asByteBuffer());
            }
            write(out, ByteBuffer.allocate((int) (-data.byteSize() & ALIGNMENT - 1)));
            weights.release();
        }
    }

    private static void write(FileChannel out, ByteBuffer bytes) throws IOException {
        while (bytes.hasRemaining()) {
            out.write(bytes);
        }
    }

    private static String identity(QuantizedWeights weights) throws IOException {
        ByteArrayOutputStream facts = new ByteArrayOutputStream();
        facts.writeBytes(("millrace " + QuantizedWeights.VERSION + " " + weights.wanted() + "\n").getBytes(StandardCharsets.UTF_8));
        for (Path file : weights.files()) {
            long size = Files.size(file);
            facts.writeBytes((file.getFileName() + " " + size + " " + Files.getLastModifiedTime(file).toMillis() + "\n").getBytes(StandardCharsets.UTF_8));
            try (FileChannel in = FileChannel.open(file, StandardOpenOption.READ)) {
                facts.writeBytes(read(in, 0, HEAD_SAMPLE));
                for (int i = 0; i < SAMPLES; i++) {
                    facts.writeBytes(read(in, size / SAMPLES * i, SAMPLE_BYTES));
                }
            }
        }
        return sha256(facts.toByteArray());
    }

    private static byte[] read(FileChannel in, long at, int bytes) throws IOException {
        ByteBuffer buffer = ByteBuffer.allocate(bytes);
        while (buffer.hasRemaining() && in.read(buffer, at + buffer.position()) >= 0) { }
        return java.util.Arrays.copyOf(buffer.array(), buffer.position());
    }

    private static String sha256(byte[] bytes) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("SHA-256 is part of every Java runtime", e);
        }
    }

    /** The header of a GGUF file (version 3) with one string key and tensors. */
    private static final class GgufHeaderWriter {
        private final ByteArrayOutputStream tensors = new ByteArrayOutputStream();
        private final int count;

        GgufHeaderWriter(int count) {
            this.count = count;
        }

        void tensor(String name, List<Long> shape, GgmlType type, long offset) {
            string(tensors, name);
            tensors.writeBytes(buffer(4).putInt(shape.size()).array());
            for (int i = shape.size() - 1; i >= 0; i--) {
                tensors.writeBytes(buffer(8).putLong(shape.get(i)).array());
            }
            tensors.writeBytes(buffer(12).putInt(type.code()).putLong(offset).array());
        }

        byte[] bytes(String identity) {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            out.writeBytes("GGUF".getBytes(StandardCharsets.US_ASCII));
            out.writeBytes(buffer(20).putInt(3).putLong(count).putLong(1).array());
            string(out, IDENTITY_KEY);
            out.writeBytes(buffer(4).putInt(8).array()); // a string
            string(out, identity);
            out.writeBytes(tensors.toByteArray());
            out.writeBytes(new byte[-out.size() & ALIGNMENT - 1]);
            return out.toByteArray();
        }

        private static void string(ByteArrayOutputStream out, String text) {
            byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
            out.writeBytes(buffer(8).putLong(utf8.length).array());
            out.writeBytes(utf8);
        }

        private static ByteBuffer buffer(int bytes) {
            return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
        }
    }
}

package io.millrace.bindings;

import java.io.IOException;
import java.io.InputStream;
import java.net.JarURLConnection;
import java.net.URL;
import java.net.URLConnection;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.jar.JarEntry;
import java.util.zip.CRC32;

/**
 * Where this program keeps what it can make again: {@code $MILLRACE_CACHE_DIR}, else {@code $XDG_CACHE_HOME/millrace}, else
 * {@code ~/.cache/millrace}. What lies there becomes code or weights of this process, so nobody else may be able to put it there.
 */
public final class CacheFolder {
    private CacheFolder() {}

    /** The folder of this process; it need not exist. */
    public static Path root() {
        return root(System.getenv());
    }

    static Path root(Map<String, String> environment) {
        String own = environment.get("MILLRACE_CACHE_DIR");
        if (own != null && !own.isBlank()) {
            return Path.of(own).toAbsolutePath();
        }
        String shared = environment.get("XDG_CACHE_HOME");
        Path base = shared != null && !shared.isBlank() ? Path.of(shared) : Path.of(System.getProperty("user.home"), ".cache");
        return base.resolve("millrace").toAbsolutePath();
    }

    /**
     * Makes {@code folder} if need be, for its owner alone.
     *
     * @throws IOException if it cannot be made, belongs to somebody else, or others can write to it
     */
    public static void requirePrivate(Path folder) throws IOException {
        if (!folder.getFileSystem().supportedFileAttributeViews().contains("posix")) {
            Files.createDirectories(folder);
            return;
        }
        Files.createDirectories(folder, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
        requireClosed(folder);
        // A new file belongs to whoever this process is: names of users need not be known to a container.
        Path probe = Files.createTempFile(folder, "owner", ".tmp");
        try {
            if (!Files.getOwner(probe).equals(Files.getOwner(folder))) {
                throw new IOException(folder + " belongs to " + Files.getOwner(folder).getName());
            }
        } finally {
            Files.deleteIfExists(probe);
        }
    }

    /** @throws IOException if others than the owner of {@code path} can write to it */
    public static void requireClosed(Path path) throws IOException {
        if (!path.getFileSystem().supportedFileAttributeViews().contains("posix")) {
            return;
        }
        Set<PosixFilePermission> permissions = Files.getPosixFilePermissions(path);
        if (permissions.contains(PosixFilePermission.GROUP_WRITE) || permissions.contains(PosixFilePermission.OTHERS_WRITE)) {
            throw new IOException("others can write to " + path + " (" + PosixFilePermissions.toString(permissions) + ")");
        }
    }

    /**
     * A file that travels inside a jar, as a file that the system's loader can open: {@code <folder>/<stem>-<size>-<CRC-32>/<fileName>}. A copy
     * that is there already is taken if its content has that size and sum, and replaced otherwise. Nobody but this user can have put it there.
     *
     * @throws IOException if it cannot be read, if {@code folder} cannot be made, belongs to somebody else, or others can write to it
     */
    public static Path unpack(URL resource, Path folder, String fileName) throws IOException {
        // What the jar says of its entry: unpacking and digesting some megabytes would cost every start a tenth of a second.
        URLConnection connection = resource.openConnection();
        JarEntry entry = connection instanceof JarURLConnection jar ? jar.getJarEntry() : null;
        byte[] content = null;
        long size = entry == null ? -1 : entry.getSize();
        long sum = entry == null ? -1 : entry.getCrc();
        if (size < 0 || sum < 0) {
            content = read(connection);
            size = content.length;
            sum = sum(ByteBuffer.wrap(content));
        }
        int dot = fileName.lastIndexOf('.');
        Path own = folder.resolve(String.format(Locale.ROOT, "%s-%x-%08x", dot < 0 ? fileName : fileName.substring(0, dot), size, sum));
        requirePrivate(folder);
        requirePrivate(own);
        Path target = own.resolve(fileName);
        if (Files.isRegularFile(target) && Files.size(target) == size && sum(target) == sum) {
            return target;
        }
        // Written beside its place and moved there, so that another process never loads half a file.
        Path partial = Files.createTempFile(own, fileName, ".part");
        try {
            Files.write(partial, content == null ? read(connection) : content);
            Files.move(partial, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } finally {
            Files.deleteIfExists(partial);
        }
        return target;
    }

    private static byte[] read(URLConnection connection) throws IOException {
        try (InputStream in = connection.getInputStream()) {
            return in.readAllBytes();
        }
    }

    private static long sum(Path file) throws IOException {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            return sum(channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size()));
        }
    }

    private static long sum(ByteBuffer content) {
        CRC32 crc = new CRC32();
        crc.update(content);
        return crc.getValue();
    }
}

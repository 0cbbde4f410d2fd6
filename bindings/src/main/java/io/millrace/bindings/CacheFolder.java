package io.millrace.bindings;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Map;
import java.util.Set;

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
}

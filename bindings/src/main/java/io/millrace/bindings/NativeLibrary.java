package io.millrace.bindings;

import java.io.IOException;
import java.io.InputStream;
import java.net.JarURLConnection;
import java.net.URISyntaxException;
import java.net.URL;
import java.net.URLConnection;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Locale;
import java.util.Map;
import java.util.jar.JarEntry;
import java.util.zip.CRC32;

/**
 * A native library that travels with the program as the resource {@code native/<os>-<arch>/<file>}. Loading never throws: what went
 * wrong is kept in {@link #failure()} until somebody needs the library and calls {@link #require()}, so that a program that can do
 * without it still starts.
 *
 * <p>A library that lies in a folder is used where it is. One inside a jar is copied once to
 * {@code <cache>/native/<name>-<size>-<CRC-32>.<suffix>} under {@link CacheFolder}, which nobody else can write. A copy whose content does not match
 * these is damaged: it is replaced, never loaded. The system property {@code millrace.<name>.path} names a file to use instead.
 *
 * @param name    {@code millrace_cpu} for {@code libmillrace_cpu.so}
 * @param path    the file that was loaded or tried, null if none was found
 * @param failure why the library is not there and what to do about it; null if it is loaded
 */
public record NativeLibrary(String name, Path path, String failure) {
    /** Loads the library into the class loader of this class. */
    public static NativeLibrary load(String name) {
        return load(name, NativeLibrary.class.getClassLoader(), platform(), System.getenv());
    }

    static NativeLibrary load(String name, ClassLoader resources, String platform, Map<String, String> environment) {
        Path file = null;
        try {
            String chosen = System.getProperty("millrace." + name + ".path");
            String resource = "native/" + platform + "/" + System.mapLibraryName(name);
            URL url = resources.getResource(resource);
            if (chosen != null) {
                file = Path.of(chosen);
            } else if (url == null) {
                return new NativeLibrary(name, null, "NATIVE-001: no native library for this platform: resource " + resource
                        + " is not on the class path. Build it on this machine with a C compiler and make (Debian, Ubuntu: apt install gcc"
                        + " make; Fedora: dnf install gcc make; macOS: xcode-select --install), then ./mvnw package.");
            } else if (url.getProtocol().equals("file")) {
                file = Path.of(url.toURI());
            } else {
                file = extract(url, name, CacheFolder.root(environment).resolve("native"));
            }
            System.load(file.toAbsolutePath().toString());
            return new NativeLibrary(name, file, null);
        } catch (UnsatisfiedLinkError e) {
            return new NativeLibrary(name, file, "NATIVE-002: cannot load " + file + ": " + e.getMessage() + ". If it was built for another"
                    + " system or is damaged, rebuild it with ./mvnw clean package.");
        } catch (IOException | URISyntaxException | RuntimeException e) {
            return new NativeLibrary(name, file, "NATIVE-003: cannot unpack the native library " + name + ": " + e + ". Set MILLRACE_CACHE_DIR"
                    + " to a folder that only you can write and that allows execution.");
        }
    }

    public boolean loaded() {
        return failure == null;
    }

    /**
     * Does nothing if the library is loaded.
     *
     * @throws IllegalStateException with the reason and the remedy otherwise
     */
    public void require() {
        if (failure != null) {
            throw new IllegalStateException(failure);
        }
    }

    /** {@code linux-x86_64}, {@code linux-aarch64}, {@code macos-aarch64}, ... */
    static String platform() {
        String os = System.getProperty("os.name").toLowerCase(Locale.ROOT);
        String arch = System.getProperty("os.arch").toLowerCase(Locale.ROOT);
        String system = os.startsWith("mac") ? "macos" : os.startsWith("windows") ? "windows" : os.replace(' ', '-');
        return system + "-" + (arch.equals("amd64") ? "x86_64" : arch);
    }

    private static Path extract(URL url, String name, Path folder) throws IOException {
        // What the jar says of its entry: unpacking and digesting some megabytes would cost every start a tenth of a second.
        URLConnection connection = url.openConnection();
        JarEntry entry = connection instanceof JarURLConnection jar ? jar.getJarEntry() : null;
        String mapped = System.mapLibraryName(name);
        int dot = mapped.lastIndexOf('.');
        byte[] content = null;
        long size = entry == null ? -1 : entry.getSize();
        long sum = entry == null ? -1 : entry.getCrc();
        if (size < 0 || sum < 0) {
            content = read(connection);
            size = content.length;
            sum = sum(ByteBuffer.wrap(content));
        }
        Path target = folder.resolve(String.format(Locale.ROOT, "%s-%x-%08x%s", mapped.substring(0, dot), size, sum, mapped.substring(dot)));
        CacheFolder.requirePrivate(folder);
        if (Files.isRegularFile(target) && Files.size(target) == size && sum(target) == sum) {
            return target;
        }
        content = content == null ? read(connection) : content;
        // Written beside its place and moved there, so that another process never loads half a file.
        Path partial = Files.createTempFile(folder, mapped, ".part");
        try {
            Files.write(partial, content);
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

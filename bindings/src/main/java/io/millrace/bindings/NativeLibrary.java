package io.millrace.bindings;

import java.io.IOException;
import java.net.URISyntaxException;
import java.net.URL;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;

/**
 * A native library that travels with the program as the resource {@code native/<os>-<arch>/<file>}. Loading never throws: what went
 * wrong is kept in {@link #failure()} until somebody needs the library and calls {@link #require()}, so that a program that can do
 * without it still starts.
 *
 * <p>A library that lies in a folder is used where it is. One inside a jar is copied once to
 * {@code native} in the user's {@link CacheFolder}; a copy that is damaged is replaced, never loaded. The system property {@code millrace.<name>.path} names a file to use instead.
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
                file = CacheFolder.unpack(url, CacheFolder.root(environment).resolve("native"), System.mapLibraryName(name));
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
}

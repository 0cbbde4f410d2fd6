package io.millrace.engine.text;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import io.millrace.bindings.CacheFolder;
import io.millrace.engine.EngineException;
import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.net.URLConnection;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Locale;
import java.util.Properties;

/**
 * Unpacks the native tokenizers library from its jar, once per user and version, and loads it. It goes to
 * {@code native} under {@link CacheFolder}; where that cannot be written, or others than its owner could have put a file there, to a
 * temporary folder of this process. Nothing is ever downloaded.
 */
final class TokenizersNativeLibrary {
    private static boolean loaded;

    private TokenizersNativeLibrary() {}

    /** Idempotent. @throws EngineException TOK-004 where this platform has no library or it cannot be unpacked or loaded */
    static synchronized void load() {
        if (loaded) {
            return;
        }
        String platform = platform();
        String fileName = System.mapLibraryName("tokenizers");
        String resource = "/native/lib/" + platform + "/cpu/" + fileName;
        try {
            URL url = TokenizersLibrary.class.getResource(resource);
            if (url == null) {
                throw new EngineException("TOK-004", "no native tokenizers library for " + platform
                        + "; it exists for linux-x86_64, linux-aarch64, osx-aarch64 and win-x86_64, run on one of these");
            }
            // Windows' library needs its companions beside it, in this order.
            if (platform.startsWith("win-")) {
                for (String companion : new String[] {"libwinpthread-1.dll", "libgcc_s_seh-1.dll", "libstdc++-6.dll"}) {
                    URL companionUrl = TokenizersLibrary.class.getResource("/native/lib/" + platform + "/cpu/" + companion);
                    if (companionUrl != null) {
                        System.load(unpack(companionUrl, companion).toString());
                    }
                }
            }
            System.load(unpack(url, fileName).toString());
            loaded = true;
        } catch (IOException | UnsatisfiedLinkError e) {
            throw new EngineException("TOK-004", "cannot unpack or load the native tokenizers library " + resource + ": " + e.getMessage()
                    + "; make " + cacheFolder() + " or " + System.getProperty("java.io.tmpdir")
                    + " writable and allow running code from it (no noexec mount)", e);
        }
    }

    private static String platform() {
        String os = System.getProperty("os.name").toLowerCase(Locale.ROOT);
        String arch = System.getProperty("os.arch");
        String osPart = os.startsWith("mac") ? "osx" : os.startsWith("win") ? "win" : "linux";
        String archPart = arch.equals("amd64") || arch.equals("x86-64") ? "x86_64" : arch.equals("arm64") ? "aarch64" : arch;
        return osPart + "-" + archPart;
    }

    private static Path cacheFolder() {
        return CacheFolder.root().resolve("native");
    }

    private static Path unpack(URL url, String fileName) throws IOException {
        URLConnection connection = url.openConnection();
        long size = connection.getContentLengthLong();
        try {
            return unpackTo(cacheFolder().resolve("tokenizers-" + version()), connection, fileName, size);
        } catch (IOException unwritable) {
            Path folder = Files.createTempDirectory("millrace-native");
            Path file = unpackTo(folder, url.openConnection(), fileName, size);
            file.toFile().deleteOnExit();
            folder.toFile().deleteOnExit();
            return file;
        }
    }

    /** Written beside its place and moved there, so that two servers starting at once never load half a file. */
    private static Path unpackTo(Path folder, URLConnection source, String fileName, long size) throws IOException {
        Path target = folder.resolve(fileName);
        CacheFolder.requirePrivate(folder);
        try (InputStream in = source.getInputStream()) {
            if (Files.isRegularFile(target) && Files.size(target) == size) {
                return target;
            }
            Path temporary = Files.createTempFile(folder, fileName, ".tmp");
            try {
                Files.copy(in, temporary, StandardCopyOption.REPLACE_EXISTING);
                try {
                    Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
                } catch (AtomicMoveNotSupportedException e) {
                    Files.move(temporary, target, StandardCopyOption.REPLACE_EXISTING);
                }
            } finally {
                Files.deleteIfExists(temporary);
            }
        }
        return target;
    }

    private static String version() throws IOException {
        Properties properties = new Properties();
        try (InputStream in = TokenizersLibrary.class.getResourceAsStream("/native/lib/tokenizers.properties")) {
            if (in != null) {
                properties.load(in);
            }
        }
        return properties.getProperty("version", "unknown");
    }
}

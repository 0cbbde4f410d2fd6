package io.millrace.engine.text;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import io.millrace.bindings.CacheFolder;
import io.millrace.engine.EngineException;
import java.io.IOException;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;

/**
 * Unpacks the native tokenizers library from its jar, once per user and content, and loads it. It goes to
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
        try {
            return CacheFolder.unpack(url, cacheFolder(), fileName);
        } catch (IOException unwritable) {
            Path folder = Files.createTempDirectory("millrace-native");
            Path file = CacheFolder.unpack(url, folder, fileName);
            // In this order they are deleted last to first.
            folder.toFile().deleteOnExit();
            file.getParent().toFile().deleteOnExit();
            file.toFile().deleteOnExit();
            return file;
        }
    }
}

package io.millrace.bindings.cuda;

import io.millrace.bindings.CacheFolder;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import jcuda.JCudaVersion;
import jcuda.LibUtils;
import jcuda.driver.JCudaDriver;

/**
 * JCuda's own native library. JCuda unpacks it into the folder for temporary files, under a name that everybody can guess, and loads what it
 * finds there; so it is unpacked here, into a folder that nobody else can write, and JCuda is sent there.
 */
final class JCudaLibrary {
    private static final String TEMPORARY_FOLDER = "java.io.tmpdir";
    private static boolean loaded;

    private JCudaLibrary() {}

    /**
     * Loads it once. {@link CudaLibrary} comes first: JCuda's library needs a libcuda.so.1 and takes the one that is loaded.
     *
     * @throws CudaException of kind {@link CudaFault#NO_DRIVER} if this platform has none
     */
    static synchronized void load() {
        if (loaded) {
            return;
        }
        String before = System.getProperty(TEMPORARY_FOLDER);
        try {
            System.setProperty(TEMPORARY_FOLDER, unpacked().toString());
            // Its class loads the library.
            JCudaDriver.setExceptionsEnabled(false);
            loaded = true;
        } catch (IOException | LinkageError e) {
            throw CudaException.of(CudaFault.NO_DRIVER, "JCuda",
                    "cannot load JCuda's native library: " + e.getMessage() + "; --cuda-driver ffm does without it", e);
        } finally {
            System.setProperty(TEMPORARY_FOLDER, before);
        }
    }

    /** The folder with the library for this platform; without it where JCuda has none, for JCuda to say so. */
    private static Path unpacked() throws IOException {
        String file = LibUtils.createLibraryFileName(LibUtils.createPlatformLibraryName("JCudaDriver-" + JCudaVersion.get()));
        Path folder = CacheFolder.root().resolve("native");
        CacheFolder.requirePrivate(folder);
        try (InputStream in = LibUtils.class.getResourceAsStream("/lib/" + file)) {
            if (in == null) {
                return folder;
            }
            byte[] content = in.readAllBytes();
            Path target = folder.resolve(file);
            if (Files.isRegularFile(target) && Arrays.equals(Files.readAllBytes(target), content)) {
                return folder;
            }
            // Written beside its place and moved there, so that another process never loads half a file.
            Path partial = Files.createTempFile(folder, file, ".part");
            try {
                Files.write(partial, content);
                Files.move(partial, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
            } finally {
                Files.deleteIfExists(partial);
            }
        }
        return folder;
    }
}

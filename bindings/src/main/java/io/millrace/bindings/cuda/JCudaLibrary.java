package io.millrace.bindings.cuda;

import io.millrace.bindings.CacheFolder;
import java.io.IOException;
import java.net.URL;
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
            System.setProperty(TEMPORARY_FOLDER, unpacked());
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

    /** The folder with the library for this platform; where JCuda has none, any, for JCuda to say so. */
    private static String unpacked() throws IOException {
        String file = LibUtils.createLibraryFileName(LibUtils.createPlatformLibraryName("JCudaDriver-" + JCudaVersion.get()));
        URL library = LibUtils.class.getResource("/lib/" + file);
        return library == null ? System.getProperty(TEMPORARY_FOLDER)
                : CacheFolder.unpack(library, CacheFolder.root().resolve("native"), file).getParent().toString();
    }
}

package io.millrace.bindings.cuda;

import java.util.List;

/** Opens a driver. The first call loads libcuda and what else the driver needs; nothing of it is loaded before. */
public final class CudaDrivers {
    /** What {@code --cuda-driver} takes, the default first. */
    public static final List<String> NAMES = List.of("mixed", "ffm", "jcuda");
    /** Names another file than {@link #LIBRARY}. */
    public static final String LIBRARY_PROPERTY = "millrace.cuda.library";
    /** As the dynamic linker finds it. */
    public static final String LIBRARY = "libcuda.so.1";

    private CudaDrivers() {}

    /**
     * @param name one of {@link #NAMES}: {@code ffm} makes every call through the foreign function interface; {@code jcuda} through JCuda,
     *             which lacks some ({@link CudaFault#UNSUPPORTED}); {@code mixed} takes JCuda for {@link CudaDevices} and the other for {@link CudaWork}
     * @throws IllegalArgumentException for another name
     * @throws CudaException of kind {@link CudaFault#NO_DRIVER} or {@link CudaFault#DRIVER_TOO_OLD}
     */
    public static CudaDriver open(String name) {
        return open(name, System.getProperty(LIBRARY_PROPERTY, LIBRARY));
    }

    /** @param library a path, or a name that the dynamic linker finds */
    public static CudaDriver open(String name, String library) {
        if (!NAMES.contains(name)) {
            throw new IllegalArgumentException("no CUDA driver is called " + name + ": there are " + String.join(", ", NAMES));
        }
        CudaLibrary.open(library);
        try {
            return switch (name) {
                case "mixed" -> new MixedCudaDriver();
                case "ffm" -> new FfmCudaDriver();
                default -> new JCudaOnlyDriver();
            };
        } catch (ExceptionInInitializerError e) {
            // A function that the library lacks is found out while the class that binds it is initialised.
            if (e.getCause() instanceof CudaException failure) {
                throw failure;
            }
            throw e;
        }
    }
}

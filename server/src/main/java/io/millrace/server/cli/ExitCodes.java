package io.millrace.server.cli;

/** What the process ends with; README and {@code --help} name them. A signal ends it with 128 + the signal's number, as usual. */
public final class ExitCodes {
    public static final int OK = 0;
    /** Something unexpected; {@code --verbose} shows the stack. */
    public static final int FAILURE = 1;
    /** Wrong flags or configuration. */
    public static final int USAGE = 2;
    /** The model could not be loaded. */
    public static final int MODEL = 3;
    /** The address is in use or cannot be bound. */
    public static final int ADDRESS = 4;

    /** No driver for the GPU that was asked for, or one that is not ready or too old, no such device, no kernels for it, or not enough of its memory. */
    public static final int NO_DRIVER = 10;
    public static final int DRIVER_TOO_OLD = 11;
    public static final int NO_DEVICE = 12;
    public static final int NO_KERNELS = 13;
    public static final int DEVICE_MEMORY = 14;
    /** The GPU failed while it served: what it held is lost, and a new process may work. */
    public static final int DEVICE_LOST = 15;

    /** What a failure with this code ends a start with. */
    static int of(String code) {
        return switch (code) {
            case "CUDA-001", "CUDA-012" -> NO_DRIVER;
            case "CUDA-002" -> DRIVER_TOO_OLD;
            case "CUDA-003" -> NO_DEVICE;
            case "CUDA-004", "CUDA-011" -> NO_KERNELS;
            case "CUDA-005" -> DEVICE_MEMORY;
            case "CUDA-006" -> DEVICE_LOST;
            default -> MODEL;
        };
    }

    private ExitCodes() {}
}

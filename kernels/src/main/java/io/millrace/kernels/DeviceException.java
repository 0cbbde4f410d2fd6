package io.millrace.kernels;

/** A device that cannot be used, or that failed while it was. The message begins with the code and ends with the remedy. */
public final class DeviceException extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private final String code;
    private final boolean lost;

    /** @param lost whether all that the device holds is lost, so that only a new process can go on */
    public DeviceException(String code, String message, boolean lost, Throwable cause) {
        super(message.startsWith(code) ? message : code + ": " + message, cause);
        this.code = code;
        this.lost = lost;
    }

    /** Stable, as docs/errors.md lists it: {@code CUDA-003}. */
    public String code() {
        return code;
    }

    public boolean lost() {
        return lost;
    }
}

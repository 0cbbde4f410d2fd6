package io.millrace.bindings.cuda;

/** A failure that the driver reported, or that kept it from being used: code, call, CUDA's name and number of the error, remedy. */
public final class CudaException extends RuntimeException {
    private final CudaFault fault;
    private final int status;
    private final String call;

    private CudaException(CudaFault fault, int status, String call, String message, Throwable cause) {
        super(message, cause);
        this.fault = fault;
        this.status = status;
        this.call = call;
    }

    /**
     * @param name   CUDA's name of the status
     * @param detail what else is known, or null
     */
    static CudaException of(String call, int status, String name, String detail) {
        CudaFault fault = CudaFault.of(call, status);
        String message = fault.code() + ": " + call + " failed with " + name + " (" + status + ")" + (detail == null ? "" : ": " + detail) + ". "
                + fault.remedy();
        return new CudaException(fault, status, call, message, null);
    }

    /** A failure for which no call returned a status. */
    static CudaException of(CudaFault fault, String call, String reason, Throwable cause) {
        return new CudaException(fault, 0, call, fault.code() + ": " + reason + ". " + fault.remedy(), cause);
    }

    public CudaFault fault() {
        return fault;
    }

    /** The {@code CUresult}; 0 where no call returned one. */
    public int status() {
        return status;
    }

    /** The driver's function that failed. */
    public String call() {
        return call;
    }

    /** Whether the context is lost: nothing may be served from it. */
    public boolean poisoned() {
        return fault == CudaFault.POISONED;
    }
}

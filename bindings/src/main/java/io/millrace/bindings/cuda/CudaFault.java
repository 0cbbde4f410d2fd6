package io.millrace.bindings.cuda;

/** Kinds of failure, each with its stable code; what ends a start has an exit code. */
public enum CudaFault {
    /** There is no libcuda that can be loaded, or not the library that goes with the chosen driver. */
    NO_DRIVER("CUDA-001", "Install NVIDIA's driver, or serve from the CPU with --backend cpu."),
    /** The installed driver is older than what this program calls, or than the toolkit that built the kernels. */
    DRIVER_TOO_OLD("CUDA-002", "Install a driver as new as the CUDA toolkit that built the kernels, build them with an older nvcc"
            + " (12.8 or newer), or serve from the CPU with --backend cpu."),
    /** The driver knows no such device, or none at all. */
    NO_DEVICE("CUDA-003", "See what nvidia-smi lists and what CUDA_VISIBLE_DEVICES says, or serve from the CPU with --backend cpu."),
    /** No machine code for this architecture, and no PTX that the driver can compile for it. */
    NO_KERNEL_IMAGE("CUDA-004", "The kernels need compute capability 8.0 or newer; build with an nvcc that knows the device's architecture."),
    OUT_OF_MEMORY("CUDA-005", "End other programs on the device (nvidia-smi lists them), or give less to the KV cache, the batch or the model."),
    /** A kernel or the device failed; the context is lost, and with it everything that was computed. */
    POISONED("CUDA-006", "Restart the server; run it under compute-sanitizer if this comes back, and report it."),
    /** The chosen driver has no such call. */
    UNSUPPORTED("CUDA-007", "Use --cuda-driver mixed or ffm."),
    /** A call was wrong or came at the wrong time. */
    DEFECT("CUDA-008", "This is a defect of the program; please report it."),
    /** There is no cuBLASLt that can be loaded, or it lacks a function. */
    NO_CUBLASLT("CUDA-009", "Install cuBLAS of CUDA 12 or 13, or name its file with -Dmillrace.cublaslt.library=FILE."),
    /** The driver is installed, but something that it works with is not running, or not loaded. */
    NOT_READY("CUDA-012", "On a machine with NVSwitch start the fabric manager (nvidia-fabricmanager.service); load the module nvidia-uvm (nvidia-modprobe -u"
            + " -c 0) and see that /dev/nvidia* can be opened, in a container too; dmesg and nvidia-smi say more. Or serve from the CPU with --backend cpu.");

    private final String code;
    private final String remedy;

    CudaFault(String code, String remedy) {
        this.code = code;
        this.remedy = remedy;
    }

    /** As docs/errors.md lists it. */
    public String code() {
        return code;
    }

    String remedy() {
        return remedy;
    }

    /** By the number of a {@code CUresult}, and the call where that says more than the number. */
    static CudaFault of(String call, int status) {
        return switch (status) {
            // Nothing has run yet: that is no lost context.
            case 999 -> call.equals("cuInit") ? NOT_READY : of(status);
            // Kernels of a newer toolkit: their container is not known, or their PTX.
            case 200, 222 -> call.equals("cuModuleLoadDataEx") ? DRIVER_TOO_OLD : of(status);
            default -> of(status);
        };
    }

    /** By the number of a {@code CUresult}. */
    static CudaFault of(int status) {
        return switch (status) {
            case 2 -> OUT_OF_MEMORY;
            case 34 -> NO_DRIVER;
            case 36, 222, 803, 804 -> DRIVER_TOO_OLD;
            case 46, 100, 101 -> NO_DEVICE;
            case 304, 802 -> NOT_READY;
            case 209, 218, 221, 223 -> NO_KERNEL_IMAGE;
            // What is documented to leave the process in an inconsistent state, lost contexts, and what nobody can name.
            case 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 911, 999 -> POISONED;
            default -> DEFECT;
        };
    }
}

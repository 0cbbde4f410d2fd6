package io.millrace.bindings.cuda;

import java.lang.foreign.MemorySegment;
import java.util.concurrent.ConcurrentHashMap;
import jcuda.NativePointerObject;
import jcuda.Pointer;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUevent;
import jcuda.driver.CUfunction;
import jcuda.driver.CUgraph;
import jcuda.driver.CUgraphExec;
import jcuda.driver.CUmodule;
import jcuda.driver.CUstream;

/**
 * JCuda's objects from and to numbers. What an object points to is protected, hence a subclass of each kind; and it cannot be made from a
 * number, hence the table of those that were made.
 */
final class JCudaHandles {
    private final ConcurrentHashMap<Long, NativePointerObject> made = new ConcurrentHashMap<>();

    /** Keeps an object under its number, and returns that. */
    long keep(NativePointerObject object, long number) {
        made.put(number, object);
        return number;
    }

    /** The object of a number; null, which JCuda takes for a null pointer, for 0. */
    <T extends NativePointerObject> T get(Class<T> kind, long number) {
        return kind.cast(find(number));
    }

    /** The same, for an object that is being destroyed. */
    <T extends NativePointerObject> T remove(Class<T> kind, long number) {
        T object = get(kind, number);
        made.remove(number);
        return object;
    }

    private NativePointerObject find(long number) {
        NativePointerObject object = made.get(number);
        if (object == null && number != 0) {
            throw new IllegalArgumentException("CUDA-008: " + Long.toHexString(number) + " is no handle of this driver, or was destroyed");
        }
        return object;
    }

    /** An address of the device: JCuda adds the offset to the pointer, here null. */
    static CUdeviceptr device(long address) {
        return new CUdeviceptr().withByteOffset(address);
    }

    /** An address of the host where the driver may read or write {@code bytes} bytes. */
    static Pointer host(MemorySegment memory, long bytes) {
        return new Host(CudaLibrary.address(memory, bytes));
    }

    static final class Host extends Pointer {
        Host() {}

        Host(long address) {
            super(address);
        }

        long number() {
            return getNativePointer();
        }
    }

    static final class Device extends CUdeviceptr {
        long number() {
            return getNativePointer();
        }
    }

    static final class Context extends CUcontext {
        long number() {
            return getNativePointer();
        }
    }

    static final class Module extends CUmodule {
        long number() {
            return getNativePointer();
        }
    }

    static final class Function extends CUfunction {
        long number() {
            return getNativePointer();
        }
    }

    static final class Stream extends CUstream {
        long number() {
            return getNativePointer();
        }
    }

    static final class Event extends CUevent {
        long number() {
            return getNativePointer();
        }
    }

    static final class Graph extends CUgraph {
        long number() {
            return getNativePointer();
        }
    }

    static final class Executable extends CUgraphExec {
        long number() {
            return getNativePointer();
        }
    }
}

package io.millrace.kernels.cuda;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.sun.management.ThreadMXBean;
import io.millrace.bindings.cuda.CudaDriver;
import io.millrace.bindings.cuda.CudaDrivers;
import io.millrace.bindings.cuda.CudaException;
import io.millrace.bindings.cuda.CudaFault;
import io.millrace.bindings.cuda.CudaWork.PinnedMemory;
import io.millrace.bindings.cuda.DeviceAttribute;
import io.millrace.bindings.cuda.FunctionAttribute;
import io.millrace.bindings.cuda.KernelLaunch;
import io.millrace.bindings.cuda.generated.mr_gate_params;
import io.millrace.kernels.ToolRun;
import java.io.IOException;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.util.function.Consumer;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Every driver gives the same answers, over the stub; what JCuda lacks it refuses by name. */
class CudaDriverConformanceTest {
    private static final int COLS = 8;

    @BeforeEach
    void freshDevice() {
        assumeTrue(StubCuda.missing() == null, StubCuda.missing());
        StubCuda.reset();
    }

    @Retention(RetentionPolicy.RUNTIME)
    @ParameterizedTest
    @ValueSource(strings = {"ffm", "jcuda", "mixed"})
    @interface EachDriver {}

    private static CudaDriver open(String name) {
        return CudaDrivers.open(name, StubCuda.library());
    }

    /** With device 0's primary context current. */
    private static CudaDriver start(String name) {
        CudaDriver driver = open(name);
        driver.initialize();
        driver.setCurrent(driver.retainPrimaryContext(0));
        return driver;
    }

    private static void refused(CudaFault fault, String words, ThrowingCallable call) {
        assertThatThrownBy(call).isInstanceOfSatisfying(CudaException.class, e -> assertThat(e.fault()).isEqualTo(fault))
                .hasMessageStartingWith(fault.code() + ": ").hasMessageContaining(words);
    }

    /** Property: what a start asks of the machine is what the machine says. */
    @EachDriver
    void devices(String name) {
        StubCuda.set("devices", 2);
        StubCuda.set("memory_bytes", 3L << 30);
        StubCuda.set("multiprocessors", 7);
        CudaDriver driver = open(name);
        assertThat(driver.name()).isEqualTo(name);
        driver.initialize();
        assertThat(driver.driverVersion()).isEqualTo(13000);
        assertThat(driver.deviceCount()).isEqualTo(2);
        assertThat(driver.deviceName(1)).isEqualTo("Millrace emulated device");
        assertThat(driver.deviceMemoryBytes(1)).isEqualTo(3L << 30);
        assertThat(driver.deviceAttribute(0, DeviceAttribute.MULTIPROCESSORS)).isEqualTo(7);
        assertThat(driver.deviceAttribute(0, DeviceAttribute.COMPUTE_CAPABILITY_MAJOR)).isEqualTo(9);
        assertThat(driver.deviceAttribute(0, DeviceAttribute.MAX_SHARED_BYTES_PER_BLOCK)).isEqualTo(227 << 10);
        assertThat(driver.pciBusId(1)).isEqualTo("00000000:02:00.0");
        refused(CudaFault.NO_DEVICE, "cuDeviceGet failed with CUDA_ERROR_INVALID_DEVICE (101)", () -> driver.deviceName(2));
    }

    /** Property: each way in which a start can fail has its own kind. */
    @EachDriver
    void faultsOfTheStart(String name) {
        CudaDriver driver = open(name);
        refused(CudaFault.DEFECT, "CUDA_ERROR_NOT_INITIALIZED (3)", driver::deviceCount);
        StubCuda.set("devices", 0);
        refused(CudaFault.NO_DEVICE, "cuInit failed with CUDA_ERROR_NO_DEVICE (100)", driver::initialize);
        StubCuda.set("devices", 1);
        StubCuda.set("init_status", 804);
        refused(CudaFault.DRIVER_TOO_OLD, "(804)", driver::initialize);
        for (int status : new int[] {304, 802, 999}) {
            StubCuda.set("init_status", status);
            refused(CudaFault.NOT_READY, "(" + status + ")", driver::initialize);
        }
        StubCuda.set("init_status", 0);
        StubCuda.set("driver_version", 11080);
        refused(CudaFault.DRIVER_TOO_OLD, "11.8", driver::initialize);
        StubCuda.set("driver_version", 12020);
        driver.initialize();
        driver.setCurrent(driver.retainPrimaryContext(0));
        StubCuda.set("no_binary", 1);
        refused(CudaFault.NO_KERNEL_IMAGE, "CUDA_ERROR_NO_BINARY_FOR_GPU (209)", () -> driver.loadModule(StubCuda.IMAGE));
        for (int status : new int[] {200, 222}) {
            StubCuda.set("module_status", status);
            refused(CudaFault.DRIVER_TOO_OLD, "(" + status + ")", () -> driver.loadModule(StubCuda.IMAGE));
        }
        StubCuda.set("fail_allocation", 2);
        long first = driver.allocate(16);
        refused(CudaFault.OUT_OF_MEMORY, "16 bytes of device memory", () -> driver.allocate(16));
        driver.free(first);
        assertThat(driver.poison()).as("nothing of this loses the context").isNull();
    }

    /** Property: without a current context nothing is done. */
    @EachDriver
    void noContext(String name) {
        CudaDriver driver = open(name);
        driver.initialize();
        driver.setCurrent(0);
        refused(CudaFault.DEFECT, "CUDA_ERROR_INVALID_CONTEXT (201)", () -> driver.allocate(16));
    }

    /** Property: peers are found and enabled once, and a second time does no harm. */
    @EachDriver
    void peers(String name) {
        StubCuda.set("devices", 2);
        CudaDriver driver = start(name);
        long other = driver.retainPrimaryContext(1);
        assertThat(driver.canAccessPeer(0, 1)).isTrue();
        assertThat(driver.canAccessPeer(0, 0)).isFalse();
        driver.enablePeerAccess(other);
        driver.enablePeerAccess(other);
        driver.releasePrimaryContext(1);
    }

    /** Property: memory is what was asked for, counted, and given back; what lies outside of it is refused. */
    @EachDriver
    void memory(String name) {
        CudaDriver driver = start(name);
        long total = driver.memoryInfo().totalBytes();
        assertThat(driver.memoryInfo().freeBytes()).isEqualTo(total);
        long a = driver.allocate(1000);
        long b = driver.allocate(1000);
        assertThat(a % 256).isZero();
        assertThat(driver.memoryInfo().freeBytes()).isBetween(total - 4096, total - 2000);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment bytes = arena.allocate(1000);
            driver.copyToHost(bytes, a, 1000, 0);
            assertThat(bytes.get(JAVA_FLOAT, 0)).as("fresh memory is poisoned").isNaN();
            for (int i = 0; i < 250; i++) {
                bytes.setAtIndex(JAVA_INT, i, i);
            }
            driver.copyToDevice(a, bytes, 1000, 0);
            driver.copyOnDevice(b, a, 1000, 0);
            driver.fill(b + 4, (byte) 0x7f, 4, 0);
            MemorySegment back = arena.allocate(1000);
            driver.copyToHost(back, b, 1000, 0);
            assertThat(back.getAtIndex(JAVA_INT, 0)).isZero();
            assertThat(back.getAtIndex(JAVA_INT, 1)).isEqualTo(0x7f7f7f7f);
            assertThat(back.getAtIndex(JAVA_INT, 249)).isEqualTo(249);
            refused(CudaFault.DEFECT, "cuMemcpyDtoHAsync failed with CUDA_ERROR_INVALID_VALUE (1)", () -> driver.copyToHost(back, b + 8, 1000, 0));
            refused(CudaFault.DEFECT, "cuMemsetD8Async", () -> driver.fill(b, (byte) 0, 1001, 0));
            assertThatThrownBy(() -> driver.copyToDevice(a, bytes, 1001, 0)).hasMessageContaining("within its bounds");
        }
        assertThatThrownBy(() -> driver.copyToDevice(a, MemorySegment.ofArray(new int[4]), 16, 0)).hasMessageContaining("heap memory");
        refused(CudaFault.OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY (2): " + total + " bytes", () -> driver.allocate(total));
        driver.free(a);
        driver.free(b);
        driver.free(0);
        refused(CudaFault.DEFECT, "cuMemFree", () -> driver.free(a));
        assertThat(driver.memoryInfo().freeBytes()).isEqualTo(total);
        assertThat(StubCuda.get("live_allocations")).isZero();
    }

    /** Property: nothing to set or to copy is nothing to ask of the driver, wherever it would lie; a negative count is an error. */
    @EachDriver
    void nothingToDo(String name) {
        CudaDriver driver = start(name);
        long end = driver.allocate(1024) + 1024;
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment host = arena.allocate(16);
            driver.fill(end, (byte) 1, 0, 0);
            driver.copyToDevice(end, host, 0, 0);
            driver.copyToHost(host, end, 0, 0);
            driver.copyOnDevice(end, end, 0, 0);
            assertThat(StubCuda.get("copies")).isZero();
            refused(CudaFault.DEFECT, "cuMemsetD8Async", () -> driver.fill(end, (byte) 1, -1, 0));
            assertThatThrownBy(() -> driver.copyToDevice(end, host, -1, 0)).hasMessageContaining("within its bounds");
        }
    }

    /** Property: pinned memory has one content and two addresses, and is copied when the copy's turn comes. */
    @EachDriver
    void pinnedMemory(String name) {
        CudaDriver driver = start(name);
        PinnedMemory pinned = driver.allocatePinned(64);
        assertThat(pinned.segment().byteSize()).isEqualTo(64);
        pinned.segment().set(JAVA_INT, 0, 1);
        driver.fill(pinned.deviceAddress(), (byte) 2, 4, 0);
        driver.synchronize(0);
        assertThat(pinned.segment().get(JAVA_INT, 0)).isEqualTo(0x02020202);
        driver.freePinned(pinned);
        assertThat(StubCuda.get("live_pinned")).isZero();
    }

    /** Property: a kernel runs with its grid, its block, its shared memory and the parameters that it had when it was launched. */
    @EachDriver
    void launches(String name) {
        try (Arena arena = Arena.ofConfined()) {
            Gate gate = new Gate(start(name), arena);
            gate.driver.launch(gate.launch);
            gate.launch.parameters().fill((byte) 0);
            gate.expect(x -> assertThat(x).isEqualTo(Gate.expected()));
            assertThat(gate.driver.functionAttribute(gate.function, FunctionAttribute.MAX_THREADS_PER_BLOCK)).isEqualTo(256);
            assertThat(gate.driver.functionAttribute(gate.function, FunctionAttribute.BINARY_VERSION)).isEqualTo(90);
            assertThat(gate.driver.functionAttribute(gate.function, FunctionAttribute.PTX_VERSION)).isEqualTo(90);
            assertThat(gate.driver.maxActiveBlocks(gate.function, 256, 0)).isEqualTo(8);
            gate.driver.setMaxDynamicSharedBytes(gate.function, 100 << 10);
            assertThat(gate.driver.functionAttribute(gate.function, FunctionAttribute.MAX_DYNAMIC_SHARED_BYTES)).isEqualTo(100 << 10);
            assertThat(gate.driver.maxActiveBlocks(gate.function, 256, 100 << 10)).isEqualTo(2);
            gate.launch.block(512);
            refused(CudaFault.DEFECT, "CUDA_ERROR_INVALID_VALUE", () -> gate.driver.launch(gate.launch));
            refused(CudaFault.DEFECT, "kernel mr_no_such", () -> gate.driver.function(gate.module, "mr_no_such"));
            refused(CudaFault.DRIVER_TOO_OLD, "CUDA_ERROR_INVALID_IMAGE (200)", () -> gate.driver.loadModule(MemorySegment.ofArray(new byte[64])));
            gate.driver.unloadModule(gate.module);
            assertThat(StubCuda.get("live_modules")).isZero();
        }
    }

    /** Property: the stub has every kernel that there is, with its launch bounds. */
    @Test
    void everyKernel() throws IOException {
        CudaDriver driver = start("ffm");
        long module = driver.loadModule(StubCuda.IMAGE);
        for (String line : Files.readAllLines(ToolRun.MODULE.resolve("src/main/cuda/gates.tsv"))) {
            if (!line.startsWith("#")) {
                String[] columns = line.split("\t");
                long function = driver.function(module, columns[0]);
                assertThat(driver.functionAttribute(function, FunctionAttribute.MAX_THREADS_PER_BLOCK)).as(columns[0])
                        .isEqualTo(Integer.parseInt(columns[1]));
            }
        }
    }

    /** Property: programmatic dependent launch goes through cuLaunchKernelEx; JCuda has no such call and says so. */
    @EachDriver
    void programmaticLaunches(String name) {
        try (Arena arena = Arena.ofConfined()) {
            Gate gate = new Gate(start(name), arena);
            gate.launch.programmatic(true);
            if (name.equals("jcuda")) {
                refused(CudaFault.UNSUPPORTED, "cuLaunchKernelEx", () -> gate.driver.launch(gate.launch));
                return;
            }
            gate.driver.launch(gate.launch);
            gate.expect(x -> assertThat(x).isEqualTo(Gate.expected()));
        }
    }

    /** Property: events order streams, tell what is done without waiting, and measure. */
    @EachDriver
    void streamsAndEvents(String name) {
        try (Arena arena = Arena.ofConfined()) {
            Gate gate = new Gate(start(name), arena);
            CudaDriver driver = gate.driver;
            long first = driver.createStream();
            long second = driver.createStream();
            long begin = driver.createEvent(true);
            long end = driver.createEvent(true);
            long untimed = driver.createEvent(false);
            PinnedMemory seen = driver.allocatePinned(16);
            assertThat(driver.isIdle(first)).isTrue();
            driver.record(begin, first);
            driver.launch(gate.launch.stream(first));
            driver.record(end, first);
            driver.record(untimed, first);
            driver.waitFor(second, end);
            driver.copyToHost(seen.segment(), gate.out, 16, second);
            driver.synchronize(second);
            assertThat(driver.hasHappened(end)).isTrue();
            assertThat(seen.segment().get(JAVA_SHORT, 0)).isEqualTo(Gate.expected());
            driver.synchronizeEvent(untimed);
            assertThat(driver.elapsedMillis(begin, end)).isBetween(0f, 60_000f);
            refused(CudaFault.DEFECT, "cuEventElapsedTime", () -> driver.elapsedMillis(begin, untimed));
            driver.synchronizeContext();
            driver.destroyEvent(begin);
            driver.destroyEvent(end);
            driver.destroyEvent(untimed);
            driver.destroyStream(first);
            driver.destroyStream(second);
            assertThat(StubCuda.get("live_events") + StubCuda.get("live_streams")).isZero();
        }
    }

    /** Property: pageable memory is read by the call, so that it may change at once; a stream's work is done though the stream is gone. */
    @EachDriver
    void whatIsUnderWay(String name) {
        try (Arena arena = Arena.ofConfined()) {
            Gate gate = new Gate(start(name), arena);
            CudaDriver driver = gate.driver;
            long stream = driver.createStream();
            gate.launch.stream(stream);
            for (int i = 0; i < 20; i++) {
                driver.launch(gate.launch);
            }
            MemorySegment source = arena.allocateFrom(JAVA_INT, 7);
            driver.copyToDevice(gate.in, source, 4, stream);
            source.set(JAVA_INT, 0, 8);
            driver.copyOnDevice(gate.out, gate.in, 4, stream);
            driver.destroyStream(stream);
            driver.free(gate.in);
            assertThat(StubCuda.get("launches")).isEqualTo(20);
            MemorySegment seen = arena.allocate(JAVA_INT);
            driver.copyToHost(seen, gate.out, 4, 0);
            assertThat(seen.get(JAVA_INT, 0)).isEqualTo(7);
        }
    }

    /** Property: a capture runs nothing; its graph runs all of it, as often as it is launched, after the graph itself is gone. */
    @EachDriver
    void graphs(String name) {
        try (Arena arena = Arena.ofConfined()) {
            Gate gate = new Gate(start(name), arena);
            CudaDriver driver = gate.driver;
            long stream = driver.createStream();
            driver.beginCapture(stream);
            driver.fill(gate.out, (byte) 0, 2 * COLS, stream);
            driver.launch(gate.launch.stream(stream));
            long graph = driver.endCapture(stream);
            assertThat(driver.graphNodes(graph)).isEqualTo(2);
            assertThat(StubCuda.get("launches")).isZero();
            long executable = driver.instantiate(graph);
            driver.destroyGraph(graph);
            driver.uploadGraph(executable, stream);
            for (int i = 1; i <= 3; i++) {
                driver.launchGraph(executable, stream);
                driver.synchronize(stream);
                gate.expect(x -> assertThat(x).isEqualTo(Gate.expected()));
                assertThat(StubCuda.get("launches")).isEqualTo(i);
            }
            driver.destroyExecutable(executable);
            assertThat(StubCuda.get("live_graphs")).isZero();
        }
    }

    /** Property: a capture that is broken by a call which would wait fails at its end, and leaves the stream usable. */
    @EachDriver
    void brokenCaptures(String name) {
        try (Arena arena = Arena.ofConfined()) {
            Gate gate = new Gate(start(name), arena);
            CudaDriver driver = gate.driver;
            long stream = driver.createStream();
            driver.beginCapture(stream);
            driver.launch(gate.launch.stream(stream));
            refused(CudaFault.DEFECT, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED (900)", () -> driver.allocate(16));
            refused(CudaFault.DEFECT, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED (901)", () -> driver.endCapture(stream));
            driver.launch(gate.launch);
            driver.synchronize(stream);
            gate.expect(x -> assertThat(x).isEqualTo(Gate.expected()));
        }
    }

    /** Property: what a kernel does wrong loses the context: every later call says so, cleaning up does nothing, the driver remembers. */
    @EachDriver
    void kernelsThatFail(String name) {
        try (Arena arena = Arena.ofConfined()) {
            Gate gate = new Gate(start(name), arena);
            CudaDriver driver = gate.driver;
            mr_gate_params.gate_up(gate.launch.parameters(), MemorySegment.ofAddress(gate.in + (1 << 20)));
            driver.launch(gate.launch);
            refused(CudaFault.POISONED, "cuStreamSynchronize failed with CUDA_ERROR_ILLEGAL_ADDRESS (700)", () -> driver.synchronize(0));
            assertThat(StubCuda.lastFault()).startsWith("mr_silu_mul: gate.cu:").contains("outside every buffer");
            refused(CudaFault.POISONED, "cuLaunchKernel", () -> driver.launch(gate.launch));
            refused(CudaFault.POISONED, "cuMemAlloc", () -> driver.allocate(16));
            driver.free(gate.in);
            driver.unloadModule(gate.module);
            assertThat(driver.poison().poisoned()).isTrue();
            assertThat(driver.poison().call()).isEqualTo("cuStreamSynchronize");
            assertThat(driver.poison().status()).isEqualTo(700);
        }
    }

    /** Property: a kernel that writes past its buffer is found, even where no access is checked. */
    @EachDriver
    void overruns(String name) {
        try (Arena arena = Arena.ofConfined()) {
            Gate gate = new Gate(start(name), arena);
            long small = gate.driver.allocate(2 * COLS - 4);
            mr_gate_params.out(gate.launch.parameters(), MemorySegment.ofAddress(small));
            gate.driver.launch(gate.launch);
            refused(CudaFault.POISONED, "CUDA_ERROR_ILLEGAL_ADDRESS", () -> gate.driver.synchronize(0));
        }
    }

    /** Property: the n-th launch fails or hangs as asked for, and a hang ends. */
    @EachDriver
    void injectedFaults(String name) {
        try (Arena arena = Arena.ofConfined()) {
            Gate gate = new Gate(start(name), arena);
            StubCuda.set("fail_launch", 2);
            gate.driver.launch(gate.launch);
            gate.driver.synchronize(0);
            gate.driver.launch(gate.launch);
            refused(CudaFault.POISONED, "CUDA_ERROR_LAUNCH_FAILED (719)", () -> gate.driver.synchronize(0));
        }
        StubCuda.reset();
        try (Arena arena = Arena.ofConfined()) {
            Gate gate = new Gate(start(name), arena);
            StubCuda.set("hang_launch", 1);
            StubCuda.set("hang_millis", 50);
            long event = gate.driver.createEvent(false);
            gate.driver.launch(gate.launch);
            gate.driver.record(event, 0);
            assertThat(gate.driver.hasHappened(event)).isFalse();
            refused(CudaFault.POISONED, "CUDA_ERROR_LAUNCH_TIMEOUT (702)", () -> gate.driver.synchronize(0));
        }
    }

    /** Property: what runs once per step allocates nothing on the heap, except through JCuda, which makes objects. */
    @ParameterizedTest
    @ValueSource(strings = {"ffm", "mixed"})
    void hotCallsAllocateNothing(String name) {
        try (Arena arena = Arena.ofConfined()) {
            Gate gate = new Gate(start(name), arena);
            CudaDriver driver = gate.driver;
            long stream = driver.createStream();
            driver.beginCapture(stream);
            driver.fill(gate.out, (byte) 0, 2, stream);
            long executable = driver.instantiate(driver.endCapture(stream));
            long event = driver.createEvent(false);
            PinnedMemory pinned = driver.allocatePinned(64);
            Runnable step = () -> {
                driver.copyToDevice(gate.in, pinned.segment(), 16, stream);
                driver.fill(gate.out, (byte) 0, 2, stream);
                driver.launch(gate.launch.stream(stream));
                driver.launchGraph(executable, stream);
                driver.copyToHost(pinned.segment(), gate.out, 16, stream);
                driver.record(event, stream);
                driver.hasHappened(event);
                driver.waitFor(stream, event);
                driver.synchronize(stream);
            };
            // Handles, interpreter and compilers settle first.
            for (int i = 0; i < 2000; i++) {
                step.run();
            }
            ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
            int steps = 500;
            long before = threads.getCurrentThreadAllocatedBytes();
            for (int i = 0; i < steps; i++) {
                step.run();
            }
            long perStep = (threads.getCurrentThreadAllocatedBytes() - before) / steps;
            assertThat(perStep).isLessThan(16);
        }
    }

    /** One launch of mr_silu_mul over one row: gate 2, up 3. */
    private static final class Gate {
        final CudaDriver driver;
        final Arena arena;
        final long module;
        final long function;
        final long in;
        final long out;
        final KernelLaunch launch;

        Gate(CudaDriver driver, Arena arena) {
            this.driver = driver;
            this.arena = arena;
            module = driver.loadModule(StubCuda.IMAGE);
            function = driver.function(module, "mr_silu_mul");
            in = driver.allocate(4 * COLS);
            out = driver.allocate(2 * COLS);
            long rows = driver.allocate(4);
            MemorySegment values = arena.allocate(4 * COLS + 4);
            for (int i = 0; i < COLS; i++) {
                values.setAtIndex(JAVA_SHORT, i, bf16(2));
                values.setAtIndex(JAVA_SHORT, COLS + i, bf16(3));
            }
            values.set(JAVA_INT, 4 * COLS, 1);
            driver.copyToDevice(in, values, 4 * COLS, 0);
            driver.copyToDevice(rows, values.asSlice(4 * COLS), 4, 0);
            driver.synchronize(0);
            launch = new KernelLaunch(arena, function, mr_gate_params.sizeof()).grid(1, 1, 1).block(256);
            MemorySegment p = launch.parameters();
            mr_gate_params.gate_up(p, MemorySegment.ofAddress(in));
            mr_gate_params.out(p, MemorySegment.ofAddress(out));
            mr_gate_params.rows(p, MemorySegment.ofAddress(rows));
            mr_gate_params.cols(p, COLS);
            mr_gate_params.gate_up_stride(p, 2 * COLS);
            mr_gate_params.out_stride(p, COLS);
        }

        void expect(Consumer<Short> check) {
            MemorySegment values = arena.allocate(2 * COLS);
            driver.copyToHost(values, out, 2 * COLS, 0);
            for (int i = 0; i < COLS; i++) {
                check.accept(values.getAtIndex(JAVA_SHORT, i));
            }
        }

        static short expected() {
            return bf16((float) (2 / (1 + Math.exp(-2)) * 3));
        }

        private static short bf16(float x) {
            int bits = Float.floatToRawIntBits(x);
            return (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
        }
    }
}

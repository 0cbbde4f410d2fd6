package io.millrace.kernels.cuda;

import io.millrace.bindings.cuda.CudaDriver;
import io.millrace.bindings.cuda.CudaDrivers;
import io.millrace.bindings.cuda.CudaException;
import io.millrace.bindings.cuda.CudaFault;
import io.millrace.bindings.cuda.DeviceAttribute;
import io.millrace.bindings.cuda.generated.MillraceCuda;
import io.millrace.kernels.Backend;
import io.millrace.kernels.Batch;
import io.millrace.kernels.BatchLimits;
import io.millrace.kernels.DType;
import io.millrace.kernels.DeviceException;
import io.millrace.kernels.Extent;
import io.millrace.kernels.KvCache;
import io.millrace.kernels.KvCacheShape;
import io.millrace.kernels.KvCacheType;
import io.millrace.kernels.OpChecks;
import io.millrace.kernels.Ops;
import io.millrace.kernels.Program;
import io.millrace.kernels.RowFiller;
import io.millrace.kernels.Tensor;
import io.millrace.kernels.Weight;
import io.millrace.kernels.WeightFormat;
import io.millrace.kernels.WeightPart;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * Programs on one GPU. Activations and weights are BF16, sums and logits F32; weights of other formats are rounded to BF16 when they are taken
 * over, which {@link #arithmetic} says. The cache is BF16 in blocks of 16 tokens. Steps in which every sequence has one token run as captured
 * graphs, others launch by launch, with the same bits.
 *
 * <p>Errors: {@link DeviceException} {@code CUDA-001} to {@code CUDA-012}, from the first call on a device that fails; {@code OP-003}, {@code OP-008} for
 * what there is no kernel for; {@code STEP-004} for a step whose ids, positions or blocks are out of range.
 */
public final class CudaBackend implements Backend {
    private static final System.Logger LOGGER = System.getLogger("io.millrace.kernels.cuda");
    private static final int MIN_COMPUTE_CAPABILITY = 80;
    /** Floats behind every constant: kernels read whole vectors. */
    private static final int CONSTANT_SLACK = 8;

    private final BatchLimits limits;
    private final CudaDriver driver;
    private final int device;
    private final String deviceText;
    private final long context;
    private final long stream;
    private final Arena arena = Arena.ofShared();
    private final DeviceMemory memory;
    private final Uploader uploader;
    private final CudaKernels kernels;
    private final CudaBatches batches;
    private final Workspace workspace;
    private final int multiprocessors;
    private final DeviceSpace space;
    private final StepCounts counts = new StepCounts();
    private final List<DecodeGraphs> graphs = new ArrayList<>();
    /** Elements that lost bits when they were taken over, by the format they had. */
    private final Map<WeightFormat, Long> roundedWeights = new LinkedHashMap<>();
    private long weightBytes;
    private long constantBytes;
    private long activationBytes;
    private long kvCacheBytes;
    private boolean usesGraphs = true;

    private CudaBackend(BatchLimits limits, CudaDriver driver, int device) {
        this.limits = limits;
        this.driver = driver;
        this.device = device;
        int capability = capability(driver, device);
        multiprocessors = driver.deviceAttribute(device, DeviceAttribute.MULTIPROCESSORS);
        deviceText = String.format(Locale.ROOT, "%s, sm_%d, %d multiprocessors, %.1f GiB", driver.deviceName(device), capability, multiprocessors,
                driver.deviceMemoryBytes(device) / (double) (1L << 30));
        context = driver.retainPrimaryContext(device);
        DeviceMemory allocated = null;
        CudaKernels loaded = null;
        long opened = 0;
        try {
            driver.setCurrent(context);
            space = new DeviceSpace(driver.memoryInfo().freeBytes(), "free on " + driver.deviceName(device));
            opened = driver.createStream();
            loaded = new CudaKernels(driver, device);
            allocated = new DeviceMemory(driver, opened, arena);
            batches = new CudaBatches(driver, allocated, limits, opened);
        } catch (RuntimeException | Error e) {
            try {
                if (allocated != null) {
                    allocated.close();
                }
                if (loaded != null) {
                    loaded.close();
                }
                if (opened != 0) {
                    driver.destroyStream(opened);
                }
                driver.releasePrimaryContext(device);
            } catch (CudaException second) {
                e.addSuppressed(second);
            }
            arena.close();
            throw e;
        }
        stream = opened;
        kernels = loaded;
        memory = allocated;
        uploader = new Uploader(driver, memory, stream);
        workspace = new Workspace(driver, memory, limits, batches, stream);
    }

    private static int capability(CudaDriver driver, int device) {
        int capability = 10 * driver.deviceAttribute(device, DeviceAttribute.COMPUTE_CAPABILITY_MAJOR)
                + driver.deviceAttribute(device, DeviceAttribute.COMPUTE_CAPABILITY_MINOR);
        if (capability < MIN_COMPUTE_CAPABILITY) {
            throw new DeviceException(CudaFault.NO_KERNEL_IMAGE.code(), driver.deviceName(device) + " has compute capability " + capability / 10 + "."
                    + capability % 10 + "; the kernels need 8.0 or newer. Serve from the CPU with --backend cpu", false, null);
        }
        return capability;
    }

    /**
     * @param driverName how the driver is called, one of {@link CudaDrivers#NAMES}
     * @throws DeviceException {@code CUDA-...} if there is no driver, no device, no kernels for it, or no memory
     */
    public static Backend create(BatchLimits limits, String driverName) {
        return guarded(() -> {
            CudaDriver driver = CudaDrivers.open(driverName);
            driver.initialize();
            if (driver.deviceCount() == 0) {
                throw new DeviceException(CudaFault.NO_DEVICE.code(), "the driver (CUDA " + driver.driverVersion() / 1000 + "." + driver.driverVersion() % 1000 / 10
                        + ") knows no device. See what nvidia-smi lists and what CUDA_VISIBLE_DEVICES says, or serve from the CPU with --backend cpu",
                        false, null);
            }
            return new CudaBackend(limits, driver, 0);
        });
    }

    /** The driver's failures as those of a backend. */
    private static <T> T guarded(Supplier<T> action) {
        try {
            return action.get();
        } catch (CudaException e) {
            throw new DeviceException(e.fault().code(), e.getMessage(), e.poisoned(), e);
        }
    }

    private static void guarded(Runnable action) {
        guarded(() -> {
            action.run();
            return null;
        });
    }

    @Override
    public DeviceSpace deviceSpace() {
        return space;
    }

    @Override
    public String name() {
        return "cuda";
    }

    @Override
    public String description() {
        return "cuda: " + deviceText + ", driver through " + driver.name();
    }

    @Override
    public String arithmetic() {
        List<String> rounded = new ArrayList<>();
        roundedWeights.forEach((format, elements) -> rounded.add(String.format(Locale.ROOT, "%,d weights of %s", elements, format.name())));
        return "bfloat16 products on tensor cores, sums in float32" + (rounded.isEmpty() ? "" : "; " + String.join(" and ", rounded)
                + " rounded to bfloat16, for which alone there are kernels");
    }

    @Override
    public Batch batch(int slot) {
        return batches.batch(slot);
    }

    @Override
    public Tensor activations(String name, Extent extent, long cols) {
        enter();
        OpChecks.activations(name, cols);
        return tensor(name, DType.BF16, extent, cols, Widths.padded(cols));
    }

    @Override
    public Tensor logits(String name, long cols) {
        enter();
        OpChecks.activations(name, cols);
        return tensor(name, DType.F32, Extent.LOGIT_ROWS, cols, cols);
    }

    private Tensor tensor(String name, DType dtype, Extent extent, long cols, long stride) {
        long rows = OpChecks.capacity(name, extent, limits);
        long bytes = rows * stride * dtype.bytes();
        long address = guarded(() -> memory.allocate(bytes));
        activationBytes += bytes;
        return new Tensor(name, dtype, extent, rows, cols, memory.segment(address, bytes));
    }

    @Override
    public Tensor constant(String name, long rows, long cols, float[] values) {
        enter();
        OpChecks.constant(name, rows, cols, values);
        return uploaded(name, rows, cols, (row, to) -> MemorySegment.copy(values, Math.toIntExact(row * cols), to, ValueLayout.JAVA_FLOAT, 0,
                Math.toIntExact(cols)));
    }

    @Override
    public Tensor constant(String name, long rows, long cols, RowFiller filler) {
        enter();
        OpChecks.constant(name, rows, cols);
        return uploaded(name, rows, cols, (row, to) -> {
            float[] values = new float[Math.toIntExact(cols)];
            filler.fill(row, values);
            MemorySegment.copy(values, 0, to, ValueLayout.JAVA_FLOAT, 0, values.length);
        });
    }

    private Tensor uploaded(String name, long rows, long cols, Uploader.RowWriter writer) {
        long bytes = rows * cols * Float.BYTES;
        long address = guarded(() -> {
            long at = memory.allocate(bytes + CONSTANT_SLACK * Float.BYTES);
            uploader.upload(at, rows, cols * Float.BYTES, writer);
            return at;
        });
        constantBytes += bytes + CONSTANT_SLACK * Float.BYTES;
        return new Tensor(name, DType.F32, Extent.FIXED, rows, cols, memory.segment(address, bytes));
    }

    @Override
    public Weight weight(String name, WeightPart... parts) {
        enter();
        OpChecks.parts(name, parts);
        long inFeatures = parts[0].cols();
        long outFeatures = Arrays.stream(parts).mapToLong(WeightPart::rows).sum();
        List<WeightFormat> formats = Arrays.stream(parts).map(WeightPart::format).distinct().toList();
        CudaWeight shape = new CudaWeight(this, name, formats, outFeatures, inFeatures, 0);
        long rowBytes = 2L * shape.stride();
        CudaWeight weight = guarded(() -> {
            long address = memory.allocateRaw(shape.byteSize());
            long row = 0;
            for (WeightPart part : parts) {
                uploader.upload(address + row * rowBytes, part.rows(), rowBytes, CudaWeight.rows(part));
                row += part.rows();
            }
            driver.fill(address + row * rowBytes, (byte) 0, (shape.paddedRows() - row) * rowBytes, stream);
            return new CudaWeight(this, name, formats, outFeatures, inFeatures, address);
        });
        for (WeightPart part : parts) {
            if (part.format() != DType.BF16) {
                roundedWeights.merge(part.format(), part.rows() * inFeatures, Long::sum);
            }
        }
        weightBytes += weight.byteSize();
        return weight;
    }

    @Override
    public KvCache kvCache(KvCacheShape shape) {
        enter();
        OpChecks.kvCache(shape);
        long bytes = kvCacheBytes(shape);
        long address = guarded(() -> memory.allocateRaw(bytes));
        kvCacheBytes += bytes;
        return new CudaKvCache(this, shape, Widths.head(shape.headDim()), address);
    }

    @Override
    public long kvCacheBytes(KvCacheShape shape) {
        if (shape.dtype() != KvCacheType.BF16) {
            throw new IllegalArgumentException("OP-003: kvCache: the cuda backend keeps keys and values as BF16, got " + shape.dtype()
                    + "; use --kv-cache-dtype auto or bfloat16");
        }
        if (shape.blockSize() != CudaKvCache.PAGE) {
            throw OpChecks.noKernel(name(), "kvCache", "blocks of " + shape.blockSize() + " tokens", "use --block-size " + CudaKvCache.PAGE);
        }
        int width = Widths.requireHead("kvCache", shape.headDim());
        enter();
        guarded(() -> kernels.requireHeads(shape.headDim(), width));
        return CudaKvCache.byteSize(shape, width);
    }

    @Override
    public float[] read(Tensor tensor, int rows) {
        enter();
        int stride = Widths.stride(tensor);
        int cols = Math.toIntExact(tensor.cols());
        float[] values = new float[rows * cols];
        try (Arena scratch = Arena.ofConfined()) {
            long bytes = (long) rows * stride * tensor.dtype().bytes();
            MemorySegment host = scratch.allocate(Math.max(1, bytes), 64);
            copyToHost(host, tensor.data().address(), bytes);
            for (int i = 0; i < values.length; i++) {
                values[i] = tensor.dtype().load(host, (long) (i / cols) * stride + i % cols);
            }
        }
        return values;
    }

    @Override
    public void write(Tensor tensor, float[] values) {
        enter();
        int stride = Widths.stride(tensor);
        int cols = Math.toIntExact(tensor.cols());
        if (values.length == 0) {
            return;
        }
        guarded(() -> uploader.upload(tensor.data().address(), Math.ceilDiv(values.length, cols), (long) stride * tensor.dtype().bytes(), (row, to) -> {
            to.fill((byte) 0);
            for (int c = 0; c < cols && row * cols + c < values.length; c++) {
                tensor.dtype().store(to, c, values[(int) row * cols + c]);
            }
        }));
    }

    /** Whether steps of decode run as graphs, as they do unless told otherwise: to compare. */
    void useGraphs(boolean on) {
        usesGraphs = on;
    }

    /** Waits for all work before it. */
    void copyToHost(MemorySegment target, long address, long bytes) {
        enter();
        guarded(() -> {
            driver.copyToHost(target, address, bytes, stream);
            driver.synchronize(stream);
        });
    }

    @Override
    public Program record(Consumer<Ops> forward) {
        enter();
        CudaRecorder recorder = new CudaRecorder(this, arena.scope());
        forward.accept(recorder);
        return guarded(() -> {
            CudaLaunch[] launches = launches(recorder);
            SamplingLists sampling = recorder.ops.stream().filter(CudaOp.Sample.class::isInstance).map(CudaOp.Sample.class::cast)
                    .map(sample -> workspace.sampling(Math.toIntExact(sample.logits().cols())).lists()).findFirst().orElse(null);
            DecodeGraphs captured = capture(launches);
            graphs.add(captured);
            driver.synchronize(stream);
            return new CudaProgram(this, List.copyOf(recorder.names), launches, captured, sampling);
        });
    }

    /** Should the driver refuse to capture programmatic launches, all launches of this backend become plain ones. */
    private DecodeGraphs capture(CudaLaunch[] launches) {
        int most = Math.min(limits.maxSequences(), limits.maxTokens());
        try {
            return DecodeGraphs.capture(driver, stream, launches, most, limits.maxLogitRows());
        } catch (CudaException first) {
            if (first.poisoned() || first.fault() == CudaFault.OUT_OF_MEMORY || !kernels.stopProgrammaticLaunches()) {
                throw first;
            }
            try {
                DecodeGraphs plain = DecodeGraphs.capture(driver, stream, launches, most, limits.maxLogitRows());
                LOGGER.log(System.Logger.Level.WARNING, "the driver refused to capture programmatic dependent launches (" + first.call() + " answered "
                        + first.status() + "); kernels start one after the other, as with -D" + CudaKernels.PDL_PROPERTY + "=off");
                return plain;
            } catch (CudaException second) {
                second.addSuppressed(first);
                throw second;
            }
        }
    }

    @Override
    public void reserve(Consumer<Ops> forward) {
        enter();
        CudaRecorder recorder = new CudaRecorder(this, arena.scope());
        forward.accept(recorder);
        guarded(() -> launches(recorder));
    }

    private CudaLaunch[] launches(CudaRecorder recorder) {
        return new LaunchList(kernels, batches, workspace, new SkinnyGemm(kernels, batches, arena, stream), arena, stream, multiprocessors)
                .of(Fusion.fuse(recorder.ops));
    }

    @Override
    public void run(Program program, int slot) {
        if (!(program instanceof CudaProgram own) || own.owner() != this) {
            throw OpChecks.foreign("run", "program", program, name());
        }
        enter();
        try {
            batches.stage(slot);
            if (own.sampling() != null) {
                own.sampling().stage(batches.batch(slot), batches.rows(1 - slot));
            }
            counts.of(batches.batch(slot));
            long graph = usesGraphs ? own.graphs().executable(counts) : 0;
            if (graph != 0) {
                driver.launchGraph(graph, stream);
            } else {
                for (CudaLaunch launch : own.launches()) {
                    launch.enqueue(driver, counts);
                }
            }
            batches.fetch();
            driver.synchronize(stream);
            batches.deliver(slot);
        } catch (CudaException e) {
            throw new DeviceException(e.fault().code(), e.getMessage(), e.poisoned(), e);
        }
        checkFault();
    }

    private void checkFault() {
        int code = batches.faultField(0);
        if (code == 0) {
            return;
        }
        batches.clearFault();
        String what = code == MillraceCuda.MR_CUDA_FAULT_TOKEN_ID() ? "the token id" : code == MillraceCuda.MR_CUDA_FAULT_POSITION() ? "the position" : "the block";
        throw new IllegalStateException("STEP-004: row " + batches.faultField(1) + " of the step has " + what + " " + batches.faultField(2)
                + ", which is outside [0, " + batches.faultField(3) + "); this is a defect of the program, please report it");
    }

    @Override
    public Map<String, Long> memoryBytes() {
        enter();
        Map<String, Long> bytes = new LinkedHashMap<>();
        bytes.put("weights", weightBytes);
        bytes.put("constants", constantBytes);
        bytes.put("activations", activationBytes + workspace.byteSize());
        bytes.put("kv_cache", kvCacheBytes);
        bytes.put("batch", batches.byteSize());
        return bytes;
    }

    @Override
    public void close() {
        if (!arena.scope().isAlive()) {
            return;
        }
        try {
            driver.setCurrent(context);
            uploader.release();
            graphs.forEach(DecodeGraphs::close);
            memory.close();
            kernels.close();
            driver.destroyStream(stream);
            driver.releasePrimaryContext(device);
        } catch (CudaException e) {
            // A poisoned context lets go of nothing; the process is about to end. What else fails here has no one to tell.
            LOGGER.log(System.Logger.Level.DEBUG, "closing the CUDA backend", e);
        } finally {
            arena.close();
        }
    }

    private void enter() {
        if (!arena.scope().isAlive()) {
            throw OpChecks.closed(name());
        }
        guarded(() -> driver.setCurrent(context));
    }
}

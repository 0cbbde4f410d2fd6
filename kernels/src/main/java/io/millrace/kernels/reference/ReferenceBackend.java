package io.millrace.kernels.reference;

import io.millrace.kernels.Backend;
import io.millrace.kernels.Batch;
import io.millrace.kernels.BatchLimits;
import io.millrace.kernels.DType;
import io.millrace.kernels.Extent;
import io.millrace.kernels.KvCache;
import io.millrace.kernels.KvCacheShape;
import io.millrace.kernels.OpChecks;
import io.millrace.kernels.Ops;
import io.millrace.kernels.Program;
import io.millrace.kernels.RowFiller;
import io.millrace.kernels.Tensor;
import io.millrace.kernels.Weight;
import io.millrace.kernels.WeightPart;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/**
 * Scalar Java backend (see the package documentation). All native memory belongs to one arena, freed by {@link #close()}. Runs on
 * the calling thread.
 */
public final class ReferenceBackend implements Backend {
    private static final long ALIGNMENT = 64;

    private final BatchLimits limits;
    private final Arena arena = Arena.ofShared();
    private final StepSlots slots;
    private long weightBytes;
    private long constantBytes;
    private long activationBytes;
    private long kvCacheBytes;

    private ReferenceBackend(BatchLimits limits) {
        this.limits = limits;
        this.slots = new StepSlots(limits, arena);
    }

    public static ReferenceBackend create(BatchLimits limits) {
        return new ReferenceBackend(limits);
    }

    @Override
    public String name() {
        return "reference";
    }

    @Override
    public String description() {
        return "reference: scalar Java, sums in double, 1 thread";
    }

    @Override
    public String arithmetic() {
        return "exact products, sums in double";
    }

    @Override
    public Batch batch(int slot) {
        return slots.batch(slot);
    }

    @Override
    public Tensor activations(String name, Extent extent, long cols) {
        requireOpen();
        OpChecks.activations(name, cols);
        long rows = OpChecks.capacity(name, extent, limits);
        MemorySegment data = arena.allocate(rows * cols * DType.F32.bytes(), ALIGNMENT);
        activationBytes += data.byteSize();
        return new Tensor(name, DType.F32, extent, rows, cols, data);
    }

    @Override
    public Tensor constant(String name, long rows, long cols, float[] values) {
        requireOpen();
        OpChecks.constant(name, rows, cols, values);
        MemorySegment data = arena.allocate(rows * cols * DType.F32.bytes(), ALIGNMENT);
        MemorySegment.copy(values, 0, data, ValueLayout.JAVA_FLOAT, 0, values.length);
        constantBytes += data.byteSize();
        return new Tensor(name, DType.F32, Extent.FIXED, rows, cols, data);
    }

    @Override
    public Tensor constant(String name, long rows, long cols, RowFiller filler) {
        requireOpen();
        OpChecks.constant(name, rows, cols);
        MemorySegment data = arena.allocate(rows * cols * DType.F32.bytes(), ALIGNMENT);
        filler.fillAll(data, rows, (int) cols);
        constantBytes += data.byteSize();
        return new Tensor(name, DType.F32, Extent.FIXED, rows, cols, data);
    }

    @Override
    public Weight weight(String name, WeightPart... parts) {
        requireOpen();
        OpChecks.parts(name, parts);
        ReferenceWeight weight = ReferenceWeight.copyOf(name, arena, parts);
        weightBytes += weight.byteSize();
        return weight;
    }

    @Override
    public KvCache kvCache(KvCacheShape shape) {
        requireOpen();
        OpChecks.kvCache(shape);
        kvCacheBytes += shape.byteSize();
        return new ReferenceKvCache(shape, arena.allocate(shape.byteSize(), ALIGNMENT));
    }

    @Override
    public Program record(Consumer<Ops> forward) {
        requireOpen();
        ReferenceRecorder recorder = new ReferenceRecorder(slots, arena.scope());
        forward.accept(recorder);
        return new Recorded(this, List.copyOf(recorder.names), recorder.steps.toArray(new Runnable[0]));
    }

    @Override
    public void run(Program program, int slot) {
        if (!(program instanceof Recorded recorded) || recorded.owner != this) {
            throw OpChecks.foreign("run", "program", program, name());
        }
        requireOpen();
        slots.use(slot);
        for (Runnable step : recorded.steps) {
            step.run();
        }
    }

    @Override
    public Map<String, Long> memoryBytes() {
        requireOpen();
        Map<String, Long> bytes = new LinkedHashMap<>();
        bytes.put("weights", weightBytes);
        bytes.put("constants", constantBytes);
        bytes.put("activations", activationBytes);
        bytes.put("kv_cache", kvCacheBytes);
        bytes.put("batch", slots.batch(0).byteSize() + slots.batch(1).byteSize());
        return bytes;
    }

    @Override
    public void close() {
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }

    private void requireOpen() {
        if (!arena.scope().isAlive()) {
            throw OpChecks.closed(name());
        }
    }

    private record Recorded(ReferenceBackend owner, List<String> opNames, Runnable[] steps) implements Program {
        @Override
        public int numOps() {
            return steps.length;
        }
    }
}

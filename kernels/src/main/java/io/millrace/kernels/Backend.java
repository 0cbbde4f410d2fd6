package io.millrace.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Map;
import java.util.function.Consumer;

/**
 * One place where programs run: it owns the memory of tensors, weights and KV cache, records programs and replays them. Used by
 * one thread at a time. {@link #close()} is idempotent and frees everything; nothing made by it may be used afterwards.
 * Allocation happens only at start-up: {@link #run} allocates nothing, on or off heap.
 */
public interface Backend extends AutoCloseable {
    /** Short stable name: {@code cpu}, {@code reference}, {@code cuda}. */
    String name();

    /** One line for people: instruction set, threads, why this one was chosen. */
    String description();

    /** One line for people: how weights that are not quantised are multiplied, as far as they were taken over, and why. */
    String arithmetic();

    /** The first of the two batches: for whoever runs one step after the other. */
    default Batch batch() {
        return batch(0);
    }

    /**
     * A step's inputs and outputs at fixed addresses. The same object for the life of the backend.
     *
     * @param slot 0 or 1
     */
    Batch batch(int slot);

    /**
     * An activation buffer {@code [capacity of extent, cols]}, zeroed, of the type that this backend computes with: F32, or BF16 on a GPU. What a
     * run leaves in one that later ops of the program have read is the backend's business: an op may have been taken along by its neighbour.
     */
    Tensor activations(String name, Extent extent, long cols);

    /** F32 {@code [logit rows, cols]}, zeroed: what a linear writes for {@link Ops#softCap} and {@link Ops#sample}. */
    default Tensor logits(String name, long cols) {
        return activations(name, Extent.LOGIT_ROWS, cols);
    }

    /** The first rows of a tensor of this backend, widened to floats: for tests and diagnostics. Not while a program runs. */
    default float[] read(Tensor tensor, int rows) {
        return tensor.data().asSlice(0, rows * tensor.cols() * Float.BYTES).toArray(ValueLayout.JAVA_FLOAT);
    }

    /** Sets the first rows of a tensor of this backend, rounded to its type: for tests and diagnostics. Not while a program runs. */
    default void write(Tensor tensor, float[] values) {
        MemorySegment.copy(values, 0, tensor.data(), ValueLayout.JAVA_FLOAT, 0, values.length);
    }

    /** An F32 constant {@code [rows, cols]} copied from {@code values}: norm weights, biases, rope tables. */
    Tensor constant(String name, long rows, long cols, float[] values);

    /** The same with values that {@code filler} computes straight into the backend's memory: for tables that grow with the context. */
    Tensor constant(String name, long rows, long cols, RowFiller filler);

    /**
     * A {@link #constant(String, long, long, RowFiller)} whose row {@code p} is read only in steps with a sequence of more than {@code p} tokens:
     * rows may be computed when such a step comes. Nobody but ops may read it.
     */
    default Tensor positionTable(String name, long positions, long cols, RowFiller filler) {
        return constant(name, positions, cols, filler);
    }

    /** Takes over a weight made of row-stacked parts of equal width (q|k|v, gate|up); formats may differ. The parts are copied or repacked. */
    Weight weight(String name, WeightPart... parts);

    /**
     * The same, but the parts may be borrowed until {@link #bytesToPack} is 0, and must not change meanwhile: taking them over is most of
     * what loading a model takes. Programs may run before; their results are the same, at first they take longer.
     */
    default Weight borrowedWeight(String name, WeightPart... parts) {
        return weight(name, parts);
    }

    /** Bytes of {@linkplain #borrowedWeight borrowed} weights that are not taken over yet; programs make them fewer too. Any thread. */
    default long bytesToPack() {
        return 0;
    }

    /** Takes over about {@code bytes} of borrowed weights on all threads and returns {@link #bytesToPack}. Not while a program runs. */
    default long packSome(long bytes) {
        return 0;
    }

    /**
     * The same matrix in {@code format}, on all threads, in memory of {@code arena} (a shared one): bit for bit what {@link Quantizer} makes.
     *
     * @throws IllegalArgumentException {@code OP-007} as {@link Quantizer#quantize}
     */
    default WeightPart quantize(WeightPart source, QuantFormat format, Arena arena) {
        return Quantizer.quantize(source, format, arena);
    }

    /** @throws IllegalArgumentException {@code OP-003} or {@code OP-008} for a type or a block size that this backend has no kernels for */
    KvCache kvCache(KvCacheShape shape);

    /** Bytes that {@link #kvCache} would take. */
    default long kvCacheBytes(KvCacheShape shape) {
        return shape.byteSize();
    }

    Program record(Consumer<Ops> forward);

    /**
     * Makes what programs like this one need beside their tensors, so that {@link #memoryBytes} tells it before a cache is sized: {@link #record}
     * makes it otherwise.
     */
    default void reserve(Consumer<Ops> forward) {}

    /** The memory of this backend's own device, as it was before anything was allocated; null where it computes in the machine's. */
    default DeviceSpace deviceSpace() {
        return null;
    }

    /**
     * Memory of a device.
     *
     * @param freeBytes free when the backend was made
     * @param source    which memory it is, for people
     */
    record DeviceSpace(long freeBytes, String source) {}

    /**
     * Runs one step of {@code program} over the present content of {@link #batch()}; returns when its outputs are there.
     *
     * @throws DeviceException if a device failed
     */
    default void run(Program program) {
        run(program, 0);
    }

    /**
     * The same over {@code batch(slot)}. Tokens that it takes from the run before ({@link Batch#addDrawn}) are those of the other slot.
     * Meanwhile another thread may fill or read the other batch.
     */
    void run(Program program, int slot);

    /** Where the program that runs is, for people; null if none does or it is not known. Any thread. */
    default String position(Program program) {
        return null;
    }

    /** Native bytes held, by kind: {@code weights}, {@code constants}, {@code activations}, {@code kv_cache}, {@code batch}. */
    Map<String, Long> memoryBytes();

    @Override
    void close();
}

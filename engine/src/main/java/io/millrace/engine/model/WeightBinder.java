package io.millrace.engine.model;

import io.millrace.engine.EngineException;
import io.millrace.engine.weights.StoredTensor;
import io.millrace.engine.weights.WeightSource;
import io.millrace.kernels.Backend;
import io.millrace.kernels.DType;
import io.millrace.kernels.Tensor;
import io.millrace.kernels.Weight;
import io.millrace.kernels.WeightFormat;
import io.millrace.kernels.WeightPart;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * Moves tensors of a checkpoint into a backend, checking name, shape and type of each.
 *
 * <p>Errors: {@code MODEL-010} missing tensor, {@code MODEL-011} wrong shape, {@code ST-008} an element type that is not read.
 */
public final class WeightBinder {
    private final WeightSource source;
    private final Backend backend;
    private final boolean borrows;
    /** Elements of each. */
    private final Map<String, Long> bound = new HashMap<>();

    /** The source may be closed when everything is bound. */
    public WeightBinder(WeightSource source, Backend backend) {
        this(source, backend, false);
    }

    /** @param borrows whether the backend may read the source until {@link Backend#bytesToPack} is 0, which must stay open for so long */
    public WeightBinder(WeightSource source, Backend backend, boolean borrows) {
        this.source = source;
        this.backend = backend;
        this.borrows = borrows && source.lasting();
    }

    /** A matrix {@code [rows, cols]} that {@link #linear} stacks. */
    public record Part(String name, long rows, long cols) {}

    public Backend backend() {
        return backend;
    }

    /** One weight of the given parts stacked by rows: q|k|v, gate|up, or a single matrix. */
    public Weight linear(String name, Part... parts) {
        WeightPart[] sources = new WeightPart[parts.length];
        for (int i = 0; i < parts.length; i++) {
            StoredTensor tensor = require(parts[i].name(), parts[i].rows(), parts[i].cols());
            sources[i] = new WeightPart(tensor.name(), format(tensor), parts[i].rows(), parts[i].cols(), tensor.data(),
                    tensor.pairRows());
        }
        Weight weight = borrows ? backend.borrowedWeight(name, sources) : backend.weight(name, sources);
        source.release();
        return weight;
    }

    /** {@link #linear} of the parts' {@code .weight}s. */
    Weight projection(String name, Part... parts) {
        return linear(name, Arrays.stream(parts).map(part -> new Part(part.name() + ".weight", part.rows(), part.cols())).toArray(Part[]::new));
    }

    /** The {@code .bias}es of a {@link #projection}. */
    Tensor bias(String name, Part... parts) {
        return vectors(name + ".bias", Arrays.stream(parts).map(part -> new Part(part.name() + ".bias", 1, part.rows())).toList(), 0, 1);
    }

    /** One vector {@code [1, n]}, a norm's weight: {@code (stored + offset) * scale}. */
    Tensor vector(String name, long length, double offset, double scale) {
        return vectors(name, List.of(new Part(name, 1, length)), offset, scale);
    }

    /** Vectors joined end to end into {@code [1, sum]}, widened to F32: the bias of a fused {@link #linear}. */
    private Tensor vectors(String name, List<Part> parts, double offset, double scale) {
        float[] values = new float[Math.toIntExact(parts.stream().mapToLong(Part::cols).sum())];
        int at = 0;
        for (Part part : parts) {
            StoredTensor tensor = require(part.name(), part.cols());
            DType dtype = dtype(tensor);
            MemorySegment data = tensor.data();
            for (int i = 0; i < part.cols(); i++) {
                values[at++] = (float) ((dtype.load(data, i) + offset) * scale);
            }
        }
        return backend.constant(name, 1, values.length, values);
    }

    /** Elements of all tensors bound so far, each counted once. */
    public long numParameters() {
        return bound.values().stream().mapToLong(Long::longValue).sum();
    }

    /** Tensors of the checkpoint that nothing asked for, ascending. */
    public Set<String> unbound() {
        Set<String> rest = new TreeSet<>(source.names());
        rest.removeAll(bound.keySet());
        return Collections.unmodifiableSet(rest);
    }

    private StoredTensor require(String name, long... shape) {
        StoredTensor tensor = source.tensor(name).orElseThrow(() -> missing(name, shape));
        if (!Arrays.equals(shape, tensor.shape().stream().mapToLong(Long::longValue).toArray())) {
            throw new EngineException("MODEL-011", tensor.file() + ": tensor '" + source.fileName(name) + "' should have the shape "
                    + Arrays.toString(shape) + " by the configuration, has " + tensor.shape() + "; config and weights are of different models");
        }
        bound.put(name, tensor.numElements());
        return tensor;
    }

    private WeightFormat format(StoredTensor tensor) {
        return tensor.format().orElseThrow(() -> unreadable(tensor, ""));
    }

    /** Vectors are few and small: none is quantised in a sound file. */
    private DType dtype(StoredTensor tensor) {
        if (format(tensor) instanceof DType dtype) {
            return dtype;
        }
        throw unreadable(tensor, "vectors of ");
    }

    private EngineException unreadable(StoredTensor tensor, String what) {
        return new EngineException("ST-008", tensor.file() + ": tensor '" + source.fileName(tensor.name()) + "' is of type " + tensor.type() + "; " + what
                + "weights are read as F32, F16 or BF16. Convert the checkpoint");
    }

    private EngineException missing(String name, long[] shape) {
        return new EngineException("MODEL-010", source.path() + " lacks the tensor '" + source.fileName(name) + "'"
                + " of shape " + Arrays.toString(shape) + " that the configuration calls for; the checkpoint has "
                + source.names().size() + " tensors in " + source.description() + ". Fetch the whole model");
    }
}

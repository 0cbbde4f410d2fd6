package io.millrace.engine.weights;

import io.millrace.engine.EngineException;
import io.millrace.kernels.DType;
import io.millrace.kernels.QuantFormat;
import io.millrace.kernels.Quantizer;
import io.millrace.kernels.WeightFormat;
import io.millrace.kernels.WeightPart;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Plain weights rounded to a block format as they are asked for, or taken from a {@link QuantizationCache}.
 *
 * <p>Which tensors: matrices named {@code *.weight} but for a mixture's router; vectors (norms, biases) keep their type. As llama.cpp
 * does, the matrix that makes the logits (the head, or the embedding where it is tied) becomes Q6_K when 4 bits are asked for, and rows
 * that are no whole blocks of 256 become Q5_0 instead of Q4_K and Q8_0 instead of Q6_K. Rows that are no whole blocks of 32 keep their type.
 *
 * <p>Errors: {@code QNT-001} the weights are already quantised, {@code QNT-002} a weight that cannot be rounded.
 */
public final class QuantizedWeights implements WeightSource {
    /** Raised when the same source would be rounded to other bits: caches of another version are not used. */
    static final int VERSION = 2;

    /** {@link io.millrace.kernels.Backend#quantize}. */
    @FunctionalInterface
    public interface Rounding {
        WeightPart quantize(WeightPart source, QuantFormat format, Arena arena);
    }

    private final WeightSource source;
    private final QuantFormat wanted;
    private final Rounding rounding;
    private final Map<String, QuantFormat> formats;
    private Arena scratch = Arena.ofShared();
    /** Null where weights are rounded as they are asked for. */
    private GgufFile cached;

    private QuantizedWeights(WeightSource source, QuantFormat wanted, Rounding rounding, Map<String, QuantFormat> formats) {
        this.source = source;
        this.wanted = wanted;
        this.rounding = rounding;
        this.formats = formats;
    }

    /**
     * @param source borrowed
     * @throws EngineException {@code QNT-001} if a tensor is quantised already
     */
    public static QuantizedWeights of(WeightSource source, QuantFormat wanted, Rounding rounding) {
        return new QuantizedWeights(source, wanted, rounding, formats(source, wanted));
    }

    private static Map<String, QuantFormat> formats(WeightSource source, QuantFormat wanted) {
        Map<String, QuantFormat> formats = new LinkedHashMap<>();
        boolean tied = source.names().stream().noneMatch(name -> name.endsWith("lm_head.weight"));
        for (String name : source.names()) {
            StoredTensor tensor = source.tensor(name).orElseThrow();
            WeightFormat stored = tensor.format().orElse(null);
            if (stored instanceof QuantFormat) {
                throw new EngineException("QNT-001", "--quantization " + wanted.name().toLowerCase(java.util.Locale.ROOT) + " rounds float32,"
                        + " float16 and bfloat16 weights, but tensor '" + name + "' of " + tensor.file() + " is " + stored.name()
                        + " already; leave --quantization off, or load an unquantised version of the model");
            }
            if (tensor.shape().size() != 2 || stored == DType.I32 || stored == null || !name.endsWith(".weight")
                    || name.endsWith(".mlp.gate.weight") || name.contains("router")) {
                continue;
            }
            boolean makesLogits = name.endsWith(tied ? "embed_tokens.weight" : "lm_head.weight");
            QuantFormat format = makesLogits && wanted != QuantFormat.Q8_0 ? QuantFormat.Q6_K : wanted;
            long cols = tensor.shape().getLast();
            if (cols % QuantFormat.Q8_0.blockElements() == 0) {
                formats.put(name, Quantizer.formatFor(format, cols));
            }
        }
        source.release();
        return formats;
    }

    /** Takes the rounded weights from {@code file}, which is closed with this. Nothing may have been asked for before. */
    void useCache(GgufFile file) {
        cached = file;
    }

    QuantFormat wanted() {
        return wanted;
    }

    /** Names of the tensors that are rounded, and to what; in the source's order. */
    Map<String, QuantFormat> formats() {
        return formats;
    }

    WeightSource source() {
        return source;
    }

    @Override
    public Path path() {
        return source.path();
    }

    @Override
    public String description() {
        int kept = (int) source.names().stream().filter(name -> !formats.containsKey(name) && name.endsWith(".weight")
                && source.tensor(name).orElseThrow().shape().size() == 2).count();
        source.release();
        return source.description() + (cached != null ? ", " + wanted + " from " + cached.path() : ", rounded to " + wanted)
                + (kept > 0 ? " (" + kept + " matrices keep their type)" : "");
    }

    @Override
    public List<Path> files() {
        return source.files();
    }

    @Override
    public Set<String> names() {
        return Collections.unmodifiableSet(source.names());
    }

    @Override
    public Optional<StoredTensor> tensor(String name) {
        QuantFormat format = formats.get(name);
        if (format == null) {
            return source.tensor(name);
        }
        StoredTensor plain = source.tensor(name).orElseThrow();
        if (cached != null) {
            GgufTensor tensor = cached.tensors().get(name);
            return Optional.of(new StoredTensor(name, cached.path(), format.name(), Optional.of(format), tensor.shape(), cached.data(tensor),
                    plain.pairRows()));
        }
        try {
            WeightPart part = new WeightPart(name, plain.format().orElseThrow(), plain.shape().getFirst(), plain.shape().getLast(), plain.data(),
                    plain.pairRows());
            return Optional.of(new StoredTensor(name, plain.file(), format.name(), Optional.of(format), plain.shape(),
                    rounding.quantize(part, format, scratch).data(), plain.pairRows()));
        } catch (IllegalArgumentException e) {
            throw new EngineException("QNT-002", plain.file() + ": " + e.getMessage(), e);
        }
    }

    /** Rounded ones are made when they are asked for. */
    @Override
    public boolean lasting() {
        return false;
    }

    @Override
    public void release() {
        scratch.close();
        scratch = Arena.ofShared();
        source.release();
    }

    @Override
    public long byteSize() {
        return source.names().stream().mapToLong(this::byteSize).sum();
    }

    /**
     * Most bytes of rounded weights at a time beside those that a backend holds: the tensors of one linear, taken as twice the largest
     * (gate and up; query, key and value are smaller).
     */
    public long scratchBytes() {
        return cached != null ? 0 : 2 * formats.keySet().stream().mapToLong(this::byteSize).max().orElse(0);
    }

    long byteSize(String name) {
        StoredTensor tensor = source.tensor(name).orElseThrow();
        QuantFormat format = formats.get(name);
        long bytes = format == null ? tensor.data().byteSize() : format.byteSize(tensor.shape().getFirst(), tensor.shape().getLast());
        source.release();
        return bytes;
    }

    @Override
    public void close() {
        scratch.close();
        if (cached != null) {
            cached.close();
        }
    }
}

package io.millrace.engine.model;

import io.millrace.engine.EngineException;
import io.millrace.engine.weights.GgufArray;
import io.millrace.engine.weights.GgufFile;
import io.millrace.engine.weights.GgufTensor;
import io.millrace.kernels.DType;
import java.util.Optional;

/** The metadata of one architecture in a GGUF file, its keys without their prefix; {@code GGUF-004} for values out of range. */
record GgufKeys(GgufFile file, String prefix) {
    boolean has(String key) {
        return file.metadata().values().containsKey(prefix + key);
    }

    int positive(String key) {
        return file.metadata().requirePositive(prefix + key);
    }

    int positive(String key, int absent) {
        return has(key) ? positive(key) : absent;
    }

    /** A whole number of at least 0. */
    int count(String key, int absent) {
        long value = file.metadata().integer(prefix + key).orElse((long) absent);
        if (value < 0 || value > Integer.MAX_VALUE) {
            throw wrong(key, value, "a number of at least 0");
        }
        return (int) value;
    }

    /** Any finite number. */
    double number(String key, double absent) {
        double value = file.metadata().number(prefix + key).orElse(absent);
        if (!Double.isFinite(value)) {
            throw wrong(key, value, "a finite number");
        }
        return value;
    }

    /** A finite number above 0. */
    double above0(String key, double absent) {
        double value = number(key, absent);
        if (!(value > 0)) {
            throw wrong(key, value, "a number above 0");
        }
        return value;
    }

    Optional<String> text(String key) {
        return file.metadata().string(prefix + key);
    }

    /**
     * Which of {@code layers} slide: written as a flag for each, or as n where every n-th sees everything.
     *
     * @param absent n where the key is absent; 0: all slide
     */
    boolean[] slidingLayers(int layers, int absent) {
        String key = "attention.sliding_window_pattern";
        boolean[] slides = new boolean[layers];
        if (file.metadata().values().get(prefix + key) instanceof GgufArray) {
            long[] flags = file.metadata().integers(prefix + key).orElseThrow();
            if (flags.length != layers) {
                throw wrong(key, flags.length, "an array with an entry for each of the " + layers + " layers");
            }
            for (int i = 0; i < layers; i++) {
                slides[i] = flags[i] != 0;
            }
            return slides;
        }
        int period = count(key, absent);
        for (int i = 0; i < layers; i++) {
            slides[i] = period == 0 || (i + 1) % period != 0;
        }
        return slides;
    }

    boolean hasTensor(String name) {
        return file.tensors().containsKey(name);
    }

    /** {@code count} numbers above 0: what a frequency of rope is divided by. */
    RopeConfig.Factors factors(String name, int count) {
        GgufTensor tensor = file.tensors().get(name);
        if (tensor == null) {
            throw new EngineException("MODEL-010", file.path() + " lacks the tensor '" + name + "' of shape [" + count
                    + "] that its metadata calls for; convert the file again");
        }
        DType type = tensor.type().plain().orElse(null);
        if (tensor.numElements() != count || type == null) {
            throw new EngineException("MODEL-011", file.path() + ": tensor '" + name + "' should have " + count + " floats, has "
                    + tensor.shape() + " of " + tensor.type());
        }
        double[] factors = new double[count];
        for (int i = 0; i < count; i++) {
            factors[i] = type.load(file.data(tensor), i);
            if (!(factors[i] > 0) || Double.isInfinite(factors[i])) {
                throw new EngineException("MODEL-005", file.path() + ": factor " + i + " of '" + name + "' is " + factors[i]
                        + "; numbers above 0 are needed");
            }
        }
        return new RopeConfig.Factors(factors);
    }

    EngineException wrong(String key, Object value, String expected) {
        return new EngineException("GGUF-004", file.path() + ": '" + prefix + key + "' is " + value + "; " + expected + " is needed");
    }
}

package io.millrace.engine.model;

import io.millrace.engine.EngineException;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;

/** The families by architecture name. The one place that knows them all. */
public final class ModelFamilies {
    private static final Map<String, ModelFamily> BY_ARCHITECTURE = new TreeMap<>(Map.of("LlamaForCausalLM", new LlamaFamily()));

    private ModelFamilies() {}

    /** @throws EngineException {@code MODEL-003} if no family serves the architecture */
    public static ModelFamily of(ModelConfig config) {
        return require(config.architecture(), config.file());
    }

    static ModelFamily require(String architecture, Path file) {
        ModelFamily family = BY_ARCHITECTURE.get(architecture);
        if (family == null) {
            throw new EngineException("MODEL-003", file + ": architecture '" + architecture + "' is not supported by this version; supported: "
                    + String.join(", ", BY_ARCHITECTURE.keySet()));
        }
        return family;
    }
}

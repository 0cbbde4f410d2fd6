package io.millrace.engine.model;

import io.millrace.engine.EngineException;
/** The families by architecture name. The one place that knows them all. */
public final class ModelFamilies {
    private static final ModelFamily DECODER = new DecoderFamily();

    private ModelFamilies() {}

    /** @throws EngineException {@code MODEL-003} if no family serves the architecture */
    public static ModelFamily of(ModelConfig config) {
        // Every architecture that can be read today is one of this family's.
        HfArchitecture.require(config.architecture(), config.file());
        return DECODER;
    }
}

package io.millrace.engine;

import io.millrace.engine.text.ChatTemplate;
import io.millrace.engine.text.Tokenizer;
import java.time.Duration;
import java.util.List;
import java.util.Optional;

/**
 * A model ready to serve: engine, tokenizer, template and the model's own defaults.
 *
 * @param name         short name, the folder's
 * @param chatTemplate empty if the model has none (then chat requests are refused with the remedy)
 * @param defaults     sampling defaults of generation_config.json
 * @param report       lines for people: architecture, dtype, backend and why, and the memory plan with every byte accounted for
 * @param phases       what loading spent its time on, in the order in which it ended
 */
public record LoadedModel(String name, Engine engine, Tokenizer tokenizer, Optional<ChatTemplate> chatTemplate, GenerationDefaults defaults,
        List<String> report, List<Phase> phases) implements AutoCloseable {

    /**
     * A part of loading.
     *
     * @param beside whether it ran on a thread of its own beside the others
     */
    public record Phase(String name, Duration wall, boolean beside) {}

    /** Sampling defaults from generation_config.json; absent keys are empty. */
    public record GenerationDefaults(Optional<Float> temperature, Optional<Float> topP, Optional<Integer> topK, Optional<Float> minP,
            Optional<Float> repetitionPenalty) {
        public static GenerationDefaults none() {
            return new GenerationDefaults(Optional.empty(), Optional.empty(), Optional.empty(), Optional.empty(), Optional.empty());
        }
    }

    @Override
    public void close() {
        try {
            engine.close();
        } finally {
            tokenizer.close();
        }
    }
}

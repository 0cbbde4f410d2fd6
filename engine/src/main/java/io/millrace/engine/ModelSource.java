package io.millrace.engine;

import io.millrace.engine.model.GenerationConfig;
import io.millrace.engine.model.GgufConfig;
import io.millrace.engine.model.ModelConfig;
import io.millrace.engine.text.ChatTemplate;
import io.millrace.engine.text.ChatTemplates;
import io.millrace.engine.text.HfTokenizer;
import io.millrace.engine.text.Tokenizer;
import io.millrace.engine.weights.Checkpoint;
import io.millrace.engine.weights.GgufFile;
import io.millrace.engine.weights.GgufWeights;
import io.millrace.engine.weights.WeightSource;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/** The two layouts in which a model comes: what {@link ModelLoader} needs of each. Methods may be called from different threads. */
sealed interface ModelSource extends AutoCloseable {
    /** A folder in the Hugging Face layout, or a {@code .gguf} file; the caller closes it when everything that came from it is closed. */
    static ModelSource of(Path path) {
        return Files.isRegularFile(path) ? new Gguf(GgufFile.open(path)) : new Folder(path);
    }

    Path path();

    ModelConfig config();

    GenerationConfig generation(ModelConfig config);

    /** Opens the weights; the caller closes them. */
    WeightSource weights(ModelConfig config);

    Tokenizer tokenizer();

    Optional<ChatTemplate> chatTemplate();

    @Override
    void close();

    /** A short name for the model. */
    default String name() {
        Path last = path().toAbsolutePath().normalize().getFileName();
        return last == null ? "model" : last.toString().replaceFirst("(?i)\\.gguf$", "");
    }

    record Folder(Path path) implements ModelSource {
        @Override
        public ModelConfig config() {
            return ModelConfig.read(path);
        }

        @Override
        public GenerationConfig generation(ModelConfig config) {
            return GenerationConfig.read(path, config);
        }

        @Override
        public WeightSource weights(ModelConfig config) {
            return Checkpoint.open(path);
        }

        @Override
        public Tokenizer tokenizer() {
            return HfTokenizer.load(path);
        }

        @Override
        public Optional<ChatTemplate> chatTemplate() {
            return ChatTemplates.load(path);
        }

        @Override
        public void close() {}
    }

    /** Everything stands in the one file. */
    record Gguf(GgufFile file) implements ModelSource {
        @Override
        public Path path() {
            return file.path();
        }

        @Override
        public ModelConfig config() {
            return GgufConfig.read(file);
        }

        @Override
        public GenerationConfig generation(ModelConfig config) {
            return GenerationConfig.of(config);
        }

        @Override
        public WeightSource weights(ModelConfig config) {
            return new GgufWeights(file, config.numHeads(), config.numKvHeads());
        }

        @Override
        public Tokenizer tokenizer() {
            return HfTokenizer.of(file);
        }

        @Override
        public Optional<ChatTemplate> chatTemplate() {
            return ChatTemplates.of(file);
        }

        @Override
        public void close() {
            file.close();
        }
    }
}

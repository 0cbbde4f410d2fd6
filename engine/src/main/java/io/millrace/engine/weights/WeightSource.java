package io.millrace.engine.weights;

import java.nio.file.Path;
import java.util.Optional;
import java.util.Set;

/** Where a model's weights come from, under their Hugging Face names whatever the file calls them. Thread-safe until {@link #close}. */
public sealed interface WeightSource extends AutoCloseable permits Checkpoint, GgufWeights {
    /** The model folder or file, for messages. */
    Path path();

    /** For people: {@code 2 safetensors file(s)}. */
    String description();

    Set<String> names();

    /** Empty if there is no tensor of this name. */
    Optional<StoredTensor> tensor(String name);

    /** Bytes of all tensors. */
    long byteSize();

    @Override
    void close();
}

package io.millrace.engine.weights;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/** Where a model's weights come from, under their Hugging Face names whatever the file calls them. Used by one thread at a time. */
public sealed interface WeightSource extends AutoCloseable permits Checkpoint, GgufWeights, QuantizedWeights {
    /** The model folder or file, for messages. */
    Path path();

    /** For people: {@code 2 safetensors file(s)}. */
    String description();

    Set<String> names();

    /** The files that hold the tensors. */
    List<Path> files();

    /** Empty if there is no tensor of this name. What it holds may be made for the purpose: see {@link #release}. */
    Optional<StoredTensor> tensor(String name);

    /** What the file calls the tensor, for messages. */
    default String fileName(String name) {
        return name;
    }

    /** Whether the data of matrices is that of a mapped file, there until {@link #close}, and not made for the purpose. */
    default boolean lasting() {
        return true;
    }

    /** Nothing that {@link #tensor} gave so far is used any more, but for matrices that are {@link #lasting}: frees what was made for it. */
    default void release() {}

    /** Bytes of all tensors. */
    long byteSize();

    @Override
    void close();
}

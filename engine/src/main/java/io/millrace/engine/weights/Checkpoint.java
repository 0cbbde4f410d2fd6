package io.millrace.engine.weights;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import io.millrace.engine.EngineException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;

/**
 * All weights of a model folder in the Hugging Face layout: one {@code model.safetensors}, or shards listed by
 * {@code model.safetensors.index.json}. Thread-safe until {@link #close}.
 *
 * <p>Errors: those of {@link SafetensorsFile}; {@code ST-010} broken index, {@code ST-011} missing shard, {@code ST-012} tensor listed
 * but absent, {@code ST-013} unsafe shard name, {@code ST-014} weights in a format that is not read, {@code ST-015} no weights.
 */
public final class Checkpoint implements WeightSource {
    private static final String SINGLE = "model.safetensors";
    private static final String INDEX = "model.safetensors.index.json";
    /** Three times the largest in use. */
    private static final long MAX_INDEX_BYTES = 32L << 20;
    private static final JsonFactory JSON = JsonFactory.builder()
            .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(16).maxNameLength(4096).maxStringLength(4096).build())
            .disable(JsonFactory.Feature.INTERN_FIELD_NAMES).disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES).build();

    private final Path folder;
    private final Map<String, SafetensorsFile> fileOfTensor;
    private final List<SafetensorsFile> files;

    private Checkpoint(Path folder, Map<String, SafetensorsFile> fileOfTensor, List<SafetensorsFile> files) {
        this.folder = folder;
        this.fileOfTensor = fileOfTensor;
        this.files = files;
    }

    /** Opens the weights of {@code folder}; nothing is read but the headers. */
    public static Checkpoint open(Path folder) {
        Path single = folder.resolve(SINGLE);
        if (Files.exists(single)) {
            SafetensorsFile file = SafetensorsFile.open(single);
            Map<String, SafetensorsFile> map = new LinkedHashMap<>();
            file.tensors().keySet().forEach(name -> map.put(name, file));
            return new Checkpoint(folder, map, List.of(file));
        }
        Path index = folder.resolve(INDEX);
        if (Files.exists(index)) {
            return openShards(folder, index);
        }
        throw noWeights(folder);
    }

    @Override
    public Path path() {
        return folder;
    }

    @Override
    public String description() {
        return files.size() + " safetensors file(s)";
    }

    @Override
    public Set<String> names() {
        return java.util.Collections.unmodifiableSet(fileOfTensor.keySet());
    }

    @Override
    public Optional<StoredTensor> tensor(String name) {
        SafetensorsFile file = fileOfTensor.get(name);
        if (file == null) {
            return Optional.empty();
        }
        TensorInfo info = file.tensors().get(name);
        return Optional.of(new StoredTensor(name, file.path(), info.type().name(), info.type().loadable().map(dtype -> dtype), info.shape(),
                file.data(info)));
    }

    @Override
    public List<Path> files() {
        return files.stream().map(SafetensorsFile::path).toList();
    }

    @Override
    public long byteSize() {
        long sum = 0;
        for (Map.Entry<String, SafetensorsFile> entry : fileOfTensor.entrySet()) {
            sum += entry.getValue().tensors().get(entry.getKey()).byteSize();
        }
        return sum;
    }

    @Override
    public void close() {
        files.forEach(SafetensorsFile::close);
    }

    private static Checkpoint openShards(Path folder, Path index) {
        Map<String, String> shardOfTensor = readIndex(index);
        Map<String, SafetensorsFile> fileOfShard = new LinkedHashMap<>();
        Map<String, SafetensorsFile> fileOfTensor = new LinkedHashMap<>();
        try {
            for (Map.Entry<String, String> entry : shardOfTensor.entrySet()) {
                String shard = entry.getValue();
                SafetensorsFile file = fileOfShard.get(shard);
                if (file == null) {
                    file = openShard(folder, index, shard);
                    fileOfShard.put(shard, file);
                }
                if (!file.tensors().containsKey(entry.getKey())) {
                    throw new EngineException("ST-012", index + " places tensor " + SafetensorsHeader.quote(entry.getKey()) + " in " + shard
                            + ", which does not have it: index and shards are of different versions; download both again");
                }
                fileOfTensor.put(entry.getKey(), file);
            }
            return new Checkpoint(folder, fileOfTensor, List.copyOf(fileOfShard.values()));
        } catch (RuntimeException | Error e) {
            fileOfShard.values().forEach(SafetensorsFile::close);
            throw e;
        }
    }

    private static SafetensorsFile openShard(Path folder, Path index, String shard) {
        // A plain name only: an index must not reach outside its folder. Links are followed, download caches are made of them.
        if (!shard.matches("[A-Za-z0-9][A-Za-z0-9._-]{0,250}\\.safetensors")) {
            throw new EngineException("ST-013", index + " names the shard " + SafetensorsHeader.quote(shard)
                    + "; only plain *.safetensors file names of the model's own folder are opened");
        }
        Path file = folder.resolve(shard);
        if (!Files.isRegularFile(file)) {
            throw new EngineException("ST-011", index + " needs the shard " + shard + ", which is not in " + folder
                    + ": the download is incomplete; fetch this file");
        }
        return SafetensorsFile.open(file);
    }

    /** Read as a stream: a tree of a hostile index would take many times its size of heap. */
    private static Map<String, String> readIndex(Path index) {
        try (InputStream in = Files.newInputStream(index)) {
            if (Files.size(index) > MAX_INDEX_BYTES) {
                throw new EngineException("ST-010", index + " has " + Files.size(index) + " bytes, the limit is " + MAX_INDEX_BYTES
                        + "; download it again");
            }
            Map<String, String> shardOfTensor = new LinkedHashMap<>();
            try (JsonParser parser = JSON.createParser(in)) {
                boolean isObject = parser.nextToken() == JsonToken.START_OBJECT;
                while (isObject && parser.nextToken() == JsonToken.FIELD_NAME) {
                    boolean isMap = parser.currentName().equals("weight_map");
                    if (parser.nextToken() == JsonToken.START_OBJECT && isMap) {
                        readWeightMap(index, parser, shardOfTensor);
                    } else {
                        parser.skipChildren();
                    }
                }
            }
            if (shardOfTensor.isEmpty()) {
                throw new EngineException("ST-010", index + " has no object 'weight_map' with tensors; download it again");
            }
            return shardOfTensor;
        } catch (JsonProcessingException e) {
            throw new EngineException("ST-010", index + " is not valid JSON (line " + (e.getLocation() == null ? 0 : e.getLocation().getLineNr())
                    + "); download it again", e);
        } catch (IOException e) {
            throw new EngineException("ST-010", index + " cannot be read: " + e.getMessage() + "; check its permissions", e);
        }
    }

    private static void readWeightMap(Path index, JsonParser parser, Map<String, String> shardOfTensor) throws IOException {
        // Thousands of tensors share a few file names.
        Map<String, String> shards = new HashMap<>();
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            String tensor = parser.currentName();
            if (parser.nextToken() != JsonToken.VALUE_STRING) {
                throw new EngineException("ST-010", index + ": weight_map entry " + SafetensorsHeader.quote(tensor)
                        + " is not a file name; download it again");
            }
            if (shardOfTensor.size() == SafetensorsHeader.MAX_TENSORS) {
                throw new EngineException("ST-010", index + " lists more than " + SafetensorsHeader.MAX_TENSORS
                        + " tensors; download it again");
            }
            shardOfTensor.put(tensor, shards.computeIfAbsent(parser.getText(), name -> name));
        }
    }

    private static EngineException noWeights(Path folder) {
        List<String> found = new ArrayList<>();
        try (Stream<Path> list = Files.list(folder)) {
            list.map(path -> path.getFileName().toString()).sorted().limit(200).forEach(found::add);
        } catch (IOException e) {
            return new EngineException("ST-015", folder + " cannot be listed: " + e.getMessage(), e);
        }
        for (String name : found) {
            if (name.matches(".*\\.(bin|pt|pth|ckpt)(\\.index\\.json)?")) {
                return new EngineException("ST-014", folder.resolve(name) + " is a pickle checkpoint; loading one can run any code, so it is"
                        + " never opened. Convert it with transformers: model.save_pretrained(folder, safe_serialization=True), or fetch a"
                        + " safetensors version of the model");
            }
        }
        for (String name : found) {
            if (name.endsWith(".gguf") || name.endsWith(".safetensors")) {
                return new EngineException("ST-014", folder.resolve(name) + " is not read; weights are expected as " + SINGLE + " or as shards with "
                        + INDEX + ". Fetch the model in the Hugging Face layout");
            }
        }
        return new EngineException("ST-015", folder + " has neither " + SINGLE + " nor " + INDEX + "; it holds "
                + (found.isEmpty() ? "nothing" : String.join(", ", found.subList(0, Math.min(12, found.size())))) + ". Check the model path");
    }
}

package io.millrace.engine.weights;

import io.millrace.engine.EngineException;
import io.millrace.kernels.DType;
import io.millrace.kernels.WeightPart;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * The tensors of a GGUF file under their Hugging Face names ({@code blk.3.attn_q.weight} is
 * {@code model.layers.3.self_attn.q_proj.weight}).
 *
 * <p>Files of the architectures llama, granite and smollm3 hold query and key rows reordered for rotary embedding in adjacent pairs:
 * <pre>
 *   file row  head * headDim + 2 * i + half   is   row  head * headDim + half * headDim / 2 + i
 * </pre>
 * Matrices say so ({@link StoredTensor#pairRows}) and whoever takes them over reads them in order; biases are put in order here.
 */
public final class GgufWeights implements WeightSource {
    private static final Pattern BLOCK = Pattern.compile("blk\\.(\\d{1,6})\\.([a-z_]+)\\.(weight|bias)");
    private static final Pattern LAYER = Pattern.compile("model\\.layers\\.(\\d+)\\.(.+)\\.(weight|bias)");
    private static final Map<String, String> BLOCK_NAMES = Map.ofEntries(Map.entry("attn_norm", "input_layernorm"),
            Map.entry("attn_q", "self_attn.q_proj"), Map.entry("attn_k", "self_attn.k_proj"), Map.entry("attn_v", "self_attn.v_proj"),
            Map.entry("attn_qkv", "self_attn.qkv_proj"), Map.entry("attn_output", "self_attn.o_proj"),
            Map.entry("attn_q_norm", "self_attn.q_norm"), Map.entry("attn_k_norm", "self_attn.k_norm"),
            Map.entry("ffn_norm", "post_attention_layernorm"), Map.entry("ffn_gate", "mlp.gate_proj"), Map.entry("ffn_up", "mlp.up_proj"),
            Map.entry("ffn_down", "mlp.down_proj"));
    /** Where a name means something else, by architecture: norms before and after each half of a block, fused projections. */
    private static final Map<String, String> FOUR_NORMS = Map.of("post_attention_norm", "post_attention_layernorm", "ffn_norm",
            "pre_feedforward_layernorm", "post_ffw_norm", "post_feedforward_layernorm");
    private static final Map<String, Map<String, String>> EXCEPTIONS = Map.of("gemma2", FOUR_NORMS, "gemma3", FOUR_NORMS, "phi3",
            Map.of("ffn_up", "mlp.gate_up_proj"));
    private static final Set<String> PAIRED_ROWS = Set.of("llama", "granite", "smollm3");
    private static final Map<String, String> TOP_NAMES = Map.of("token_embd.weight", "model.embed_tokens.weight", "output_norm.weight",
            "model.norm.weight", "output.weight", "lm_head.weight");

    private final GgufFile file;
    private Arena copies = Arena.ofShared();
    private final boolean pairedRows;
    private final int numHeads;
    private final int numKvHeads;
    private final Map<String, GgufTensor> tensors = new LinkedHashMap<>();

    /** @param file borrowed */
    public GgufWeights(GgufFile file, int numHeads, int numKvHeads) {
        this.file = file;
        this.numHeads = numHeads;
        this.numKvHeads = numKvHeads;
        String architecture = file.metadata().string("general.architecture").orElse("");
        pairedRows = PAIRED_ROWS.contains(architecture);
        file.tensors().forEach((name, tensor) -> tensors.put(huggingFaceName(architecture, name), tensor));
    }

    @Override
    public String fileName(String name) {
        String architecture = file.metadata().string("general.architecture").orElse("");
        Matcher layer = LAYER.matcher(name);
        if (!layer.matches()) {
            return TOP_NAMES.entrySet().stream().filter(entry -> entry.getValue().equals(name)).map(Map.Entry::getKey).findFirst().orElse(name);
        }
        return Stream.concat(EXCEPTIONS.getOrDefault(architecture, Map.of()).keySet().stream(), BLOCK_NAMES.keySet().stream())
                .map(ours -> "blk." + layer.group(1) + "." + ours + "." + layer.group(3))
                .filter(ours -> huggingFaceName(architecture, ours).equals(name)).findFirst().orElse(name);
    }

    static String huggingFaceName(String architecture, String name) {
        Matcher block = BLOCK.matcher(name);
        if (block.matches()) {
            String ours = EXCEPTIONS.getOrDefault(architecture, Map.of()).getOrDefault(block.group(2), BLOCK_NAMES.get(block.group(2)));
            if (ours != null) {
                return "model.layers." + block.group(1) + "." + ours + "." + block.group(3);
            }
        }
        return TOP_NAMES.getOrDefault(name, name);
    }

    @Override
    public Path path() {
        return file.path();
    }

    @Override
    public String description() {
        return "GGUF file";
    }

    @Override
    public List<Path> files() {
        return List.of(file.path());
    }

    @Override
    public Set<String> names() {
        return Collections.unmodifiableSet(tensors.keySet());
    }

    @Override
    public Optional<StoredTensor> tensor(String name) {
        GgufTensor tensor = tensors.get(name);
        if (tensor == null) {
            return Optional.empty();
        }
        if (tensor.type().format().isEmpty()) {
            throw new EngineException("GGUF-007", file.path() + ": tensor '" + tensor.name() + "' is of type " + tensor.type().name()
                    + ", which is not read; read are F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K. Use such a file of the same model");
        }
        MemorySegment data = file.data(tensor);
        int pairRows = 0;
        if (pairedRows && tensor.name().matches("blk\\.\\d+\\.attn_[qk]\\.(weight|bias)")) {
            pairRows = headRows(tensor, tensor.name().contains("attn_q") ? numHeads : numKvHeads);
            if (tensor.shape().size() == 1) {
                data = inOrder(tensor, data, pairRows);
                pairRows = 0;
            }
        }
        return Optional.of(new StoredTensor(name, file.path(), tensor.type().name(), tensor.type().format(), tensor.shape(), data, pairRows));
    }

    private int headRows(GgufTensor tensor, int heads) {
        long rows = tensor.shape().getFirst();
        if (rows % (2L * heads) != 0) {
            throw new EngineException("GGUF-005", file.path() + ": tensor '" + tensor.name() + "' has " + rows + " rows, which is no whole number"
                    + " of pairs for each of " + heads + " heads; the file is damaged");
        }
        return Math.toIntExact(rows / heads);
    }

    /** A bias, an element for each row. */
    private MemorySegment inOrder(GgufTensor tensor, MemorySegment source, int pairRows) {
        long rows = tensor.shape().getFirst();
        long rowBytes = source.byteSize() / rows;
        WeightPart part = new WeightPart(tensor.name(), DType.F32, rows, 0, source, pairRows);
        MemorySegment copy = copies.allocate(source.byteSize(), 64);
        for (long row = 0; row < rows; row++) {
            MemorySegment.copy(source, part.rowAt(row) * rowBytes, copy, row * rowBytes, rowBytes);
        }
        return copy;
    }

    @Override
    public void release() {
        copies.close();
        copies = Arena.ofShared();
    }

    @Override
    public long byteSize() {
        return tensors.values().stream().mapToLong(GgufTensor::byteSize).sum();
    }

    @Override
    public void close() {
        if (copies.scope().isAlive()) {
            copies.close();
        }
    }
}

package io.millrace.engine.text;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** The public tokenizers that the tests run over, and small ones written here for the decoders that none of them has. */
final class TestTokenizers {
    static final ObjectMapper JSON = new ObjectMapper();

    private TestTokenizers() {}

    /** A path under the shared test data; skips the calling test, saying so, where it is absent. */
    static Path data(String relative) {
        String root = System.getProperty("millrace.data", "");
        Path path = Path.of(root).resolve(relative);
        assumeTrue(!root.isEmpty() && Files.exists(path), "skipped: no test data at -Dmillrace.data=" + root + " (" + relative + ")");
        return path;
    }

    static List<Path> folders() {
        return List.of(data("models/stories260K/hf-fp32"), data("tokenizers/hf/gpt2"), data("tokenizers/hf/phi-3"),
                data("tokenizers/hf/cl100k"));
    }

    static List<JsonNode> lines(Path jsonl) {
        try {
            List<JsonNode> nodes = new ArrayList<>();
            for (String line : Files.readAllLines(jsonl)) {
                nodes.add(JSON.readTree(line));
            }
            return nodes;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static int[] ids(JsonNode array) {
        int[] ids = new int[array.size()];
        for (int i = 0; i < ids.length; i++) {
            ids[i] = array.get(i).asInt();
        }
        return ids;
    }

    /** A tokenizer.json with a tiny BPE vocabulary {@code pieces} (ids in order), the last {@code numSpecial} of them special. */
    static HfTokenizer handWritten(Path folder, String model, String decoder, int numSpecial, String... pieces) {
        var root = JSON.createObjectNode();
        var added = root.put("version", "1.0").putArray("added_tokens");
        var modelNode = JSON.createObjectNode().put("type", model);
        if (model.equals("WordPiece")) {
            modelNode.put("unk_token", pieces[0]).put("continuing_subword_prefix", "##").put("max_input_chars_per_word", 100);
        } else {
            modelNode.put("byte_fallback", true).putArray("merges");
        }
        var vocab = modelNode.putObject("vocab");
        for (int id = 0; id < pieces.length; id++) {
            vocab.put(pieces[id], id);
            if (id >= pieces.length - numSpecial) {
                added.addObject().put("id", id).put("content", pieces[id]).put("single_word", false).put("lstrip", false)
                        .put("rstrip", false).put("normalized", false).put("special", true);
            }
        }
        try {
            root.set("decoder", JSON.readTree(decoder));
            root.set("model", modelNode);
            Files.writeString(folder.resolve("tokenizer.json"), JSON.writeValueAsString(root));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return HfTokenizer.load(folder);
    }
}

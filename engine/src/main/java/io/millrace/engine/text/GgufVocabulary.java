package io.millrace.engine.text;

import io.millrace.engine.EngineException;
import io.millrace.engine.weights.GgufArray;
import io.millrace.engine.weights.GgufMetadata;
import java.nio.file.Path;
import java.util.BitSet;

/**
 * The vocabulary that a GGUF file holds in its {@code tokenizer.ggml} keys, checked: entries, their types, which of them open and close a text. Not
 * usable for {@link #merges} after the file is closed.
 *
 * <p>Errors: {@code TOK-010} keys missing or of unequal length, {@code TOK-011} a vocabulary or pre-tokenizer kind that is not read.
 */
final class GgufVocabulary {
    /** {@code tokenizer.ggml.token_type}. */
    private static final long UNKNOWN = 2;
    private static final long CONTROL = 3;
    private static final long USER_DEFINED = 4;
    private static final long BYTE = 6;

    private final Path file;
    private final GgufMetadata metadata;
    private final String kind;
    private final GgufArray.Slices entries;
    private final GgufPieces pieces;
    private final long[] types;
    private final int count;

    GgufVocabulary(Path file, GgufMetadata metadata) {
        this.file = file;
        this.metadata = metadata;
        GgufArray.Strings strings = metadata.stringArray("tokenizer.ggml.tokens").orElseThrow(() -> missing("tokenizer.ggml.tokens"));
        count = strings.size();
        if (count == 0 || count > TokenizerFile.MAX_TOKEN_ID) {
            throw new EngineException("TOK-010", file + " has a vocabulary of " + count + " tokens; 1 to " + TokenizerFile.MAX_TOKEN_ID
                    + " are read");
        }
        kind = metadata.string("tokenizer.ggml.model").orElseThrow(() -> missing("tokenizer.ggml.model"));
        if (!kind.equals("llama") && !kind.equals("gpt2")) {
            throw new EngineException("TOK-011", file + " has a vocabulary of the kind '" + kind
                    + "'; read are 'llama' (SentencePiece) and 'gpt2' (byte-level BPE). Serve the model from its Hugging Face folder instead");
        }
        types = metadata.integers("tokenizer.ggml.token_type").orElseGet(() -> new long[count]);
        requireLength("tokenizer.ggml.token_type", types.length);
        entries = strings.slices();
        for (int id = 0; id < count; id++) {
            if (!Utf8Assembler.isValid(entries.bytes(), entries.begin(id), entries.end(id))) {
                strings.get(id); // It knows the place in the file.
                throw new IllegalStateException("two opinions on what is UTF-8, at entry " + id);
            }
        }
        pieces = new GgufPieces(entries);
    }

    Path file() {
        return file;
    }

    GgufMetadata metadata() {
        return metadata;
    }

    /** {@code llama} or {@code gpt2}. */
    String kind() {
        return kind;
    }

    /** In the order of their ids; UTF-8. */
    GgufArray.Slices entries() {
        return entries;
    }

    GgufPieces pieces() {
        return pieces;
    }

    PreTokenizer preTokenizer() {
        return PreTokenizer.of(metadata.string("tokenizer.ggml.pre").orElse("default"), file);
    }

    GgufArray.Strings merges() {
        return metadata.stringArray("tokenizer.ggml.merges").orElseThrow(() -> missing("tokenizer.ggml.merges"));
    }

    /** Found in text as it stands, before anything is cut or merged. */
    boolean isAdded(int id) {
        return types[id] == CONTROL || types[id] == UNKNOWN || types[id] == USER_DEFINED;
    }

    /** Added, and skipped on request. */
    boolean isSpecial(int id) {
        return isAdded(id) && types[id] != USER_DEFINED;
    }

    boolean isNeverMadeFromText(int id) {
        return types[id] == CONTROL || types[id] == UNKNOWN || types[id] == BYTE;
    }

    /** The token that opens a text, where the file asks for one or does not say and {@code byDefault} holds; else -1. */
    int leadingId(boolean byDefault) {
        return metadata.bool("tokenizer.ggml.add_bos_token").orElse(byDefault) ? id("tokenizer.ggml.bos_token_id") : -1;
    }

    /** The token that closes a text, where the file asks for one; else -1. */
    int trailingId() {
        return metadata.bool("tokenizer.ggml.add_eos_token").orElse(false) ? id("tokenizer.ggml.eos_token_id") : -1;
    }

    private int id(String key) {
        long id = metadata.integer(key).orElse(-1L);
        return id >= 0 && id < pieces.size() ? (int) id : -1;
    }

    TokenizerFile tokenizerFile(DecoderSpec decoder) {
        BitSet added = new BitSet();
        BitSet special = new BitSet();
        for (int id = 0; id < types.length; id++) {
            added.set(id, isAdded(id));
            special.set(id, isSpecial(id));
        }
        return TokenizerFile.of(pieces, added, special, decoder);
    }

    void requireLength(String key, int length) {
        if (length != count) {
            throw new EngineException("TOK-010", file + ": '" + key + "' has " + length + " entries for " + count
                    + " tokens; the file is damaged, convert it again");
        }
    }

    EngineException missing(String key) {
        return new EngineException("TOK-010", file + " lacks the metadata key '" + key + "'; it has no usable vocabulary, convert it again");
    }
}

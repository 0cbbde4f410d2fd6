package io.millrace.engine.text;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.util.TokenBuffer;
import io.millrace.engine.EngineException;
import io.millrace.engine.weights.GgufArray;
import io.millrace.engine.weights.GgufMetadata;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.Comparator;
import java.util.List;
import java.util.function.IntConsumer;

/**
 * Writes the vocabulary of a GGUF file as a Hugging Face {@code tokenizer.json}, so that both kinds of model files are tokenized by the
 * same code. SentencePiece vocabularies ({@code tokenizer.ggml.model = llama}) become BPE with byte fallback, their merges derived
 * from the scores; byte-level BPE ({@code gpt2}) takes the pre-tokenizer that {@code tokenizer.ggml.pre} names.
 *
 * <p>Errors: {@code TOK-010} keys missing or of unequal length, {@code TOK-011} a vocabulary or pre-tokenizer kind that is not read.
 */
final class GgufTokenizerJson {
    /** {@code tokenizer.ggml.token_type}. */
    private static final long UNKNOWN = 2;
    private static final long CONTROL = 3;
    private static final long USER_DEFINED = 4;
    private static final long BYTE = 6;

    private static final String CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|";
    private static final String WORDS_AND_PUNCTUATION = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

    /** Words of mixed case as of o200k_base (tiktoken): upper-case run, then lower-case letters, marks with either. */
    private static final String CASED_1 = "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+";
    private static final String CASED_2 = "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*";
    private static final String SUFFIX = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?";
    private static final String PUNCTUATION_WITH_SLASH = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    private static final String THREE_DIGITS = CONTRACTIONS + "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}" + WORDS_AND_PUNCTUATION;

    /**
     * How a named pre-tokenizer cuts text before byte-level BPE. An empty pattern means GPT-2's own. Whole entries of the vocabulary may go
     * before merges, and a begin-of-sequence token may be added where the file does not say.
     */
    private enum PreTokenizer {
        GPT2("", false, false, false), LLAMA3(THREE_DIGITS, false, true, true), CL100K(THREE_DIGITS, false, false, false),
        QWEN2(CONTRACTIONS + "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" + WORDS_AND_PUNCTUATION, true, false, false),
        /** GPT-2's pattern after every digit was cut off. */
        DIGITS("\\p{N}", false, false, false),
        GPT4O(CASED_1 + SUFFIX + "|" + CASED_2 + SUFFIX + "|\\p{N}{1,3}" + PUNCTUATION_WITH_SLASH, false, false, false),
        TEKKEN(CASED_1 + "|" + CASED_2 + "|\\p{N}" + PUNCTUATION_WITH_SLASH, false, true, true);

        private final String pattern;
        private final boolean normalizeNfc;
        private final boolean ignoreMerges;
        private final boolean bosByDefault;

        PreTokenizer(String pattern, boolean normalizeNfc, boolean ignoreMerges, boolean bosByDefault) {
            this.pattern = pattern;
            this.normalizeNfc = normalizeNfc;
            this.ignoreMerges = ignoreMerges;
            this.bosByDefault = bosByDefault;
        }

        static PreTokenizer of(String name, Path file) {
            return switch (name) {
                case "default", "gpt-2", "gpt2", "phi-2", "olmo", "jina-es", "jina-de", "roberta-bpe" -> GPT2;
                case "llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral" -> LLAMA3;
                case "dbrx", "smaug-bpe" -> CL100K;
                case "qwen2", "deepseek-r1-qwen", "hunyuan", "megrez", "stablelm2" -> QWEN2;
                case "smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b" -> DIGITS;
                case "gpt-4o", "llama4" -> GPT4O;
                case "tekken" -> TEKKEN;
                default -> throw new EngineException("TOK-011", file + " names the pre-tokenizer '" + name + "', which is not known; known are"
                        + " gpt-2, llama-bpe, dbrx, qwen2, smollm, gpt-4o, tekken and their aliases. Serve the model from its Hugging Face folder"
                        + " instead");
            };
        }
    }

    private final Path file;
    private final GgufMetadata metadata;
    private final GgufArray.Slices entries;
    private final GgufPieces tokens;
    private final long[] types;
    private final AsciiJson out;
    private DecoderSpec decoder = new DecoderSpec.Other();

    private GgufTokenizerJson(Path file, GgufMetadata metadata) {
        this.file = file;
        this.metadata = metadata;
        GgufArray.Strings strings = metadata.stringArray("tokenizer.ggml.tokens").orElseThrow(() -> missing("tokenizer.ggml.tokens"));
        int count = strings.size();
        if (count == 0 || count > TokenizerFile.MAX_TOKEN_ID) {
            throw new EngineException("TOK-010", file + " has a vocabulary of " + count + " tokens; 1 to " + TokenizerFile.MAX_TOKEN_ID
                    + " are read");
        }
        entries = strings.slices();
        tokens = new GgufPieces(entries);
        types = metadata.integers("tokenizer.ggml.token_type").orElseGet(() -> new long[count]);
        requireLength("tokenizer.ggml.token_type", types.length);
        out = new AsciiJson(count * 64);
    }

    static GgufTokenizerJson of(Path file, GgufMetadata metadata) {
        GgufTokenizerJson writer = new GgufTokenizerJson(file, metadata);
        try (JsonGenerator json = new JsonFactory().createGenerator(writer.out).enable(JsonGenerator.Feature.ESCAPE_NON_ASCII)) {
            writer.write(json);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return writer;
    }

    /** The whole {@code tokenizer.json}. */
    String json() {
        return out.toString();
    }

    /** What {@link TokenizerFile#parse} would read from {@link #json}. */
    TokenizerFile tokenizerFile() {
        BitSet added = new BitSet();
        BitSet special = new BitSet();
        for (int id = 0; id < types.length; id++) {
            added.set(id, isAdded(id));
            special.set(id, isAdded(id) && types[id] != USER_DEFINED);
        }
        return TokenizerFile.of(tokens, added, special, decoder);
    }

    /** Names the merge for which the library refused the vocabulary, if one was the reason: nearly no file needs that look. */
    void checkMerges() {
        for (String merge : metadata.strings("tokenizer.ggml.merges").orElse(new String[0])) {
            int space = merge.indexOf(' ', 1);
            if (space < 0 || tokens.find(merge.substring(0, space)) < 0 || tokens.find(merge.substring(space + 1)) < 0) {
                throw new EngineException("TOK-010", file + ": the merge '" + merge + "' is not a pair of vocabulary entries; convert the file again");
            }
        }
    }

    private boolean isAdded(int id) {
        return types[id] == CONTROL || types[id] == UNKNOWN || types[id] == USER_DEFINED;
    }

    private void write(JsonGenerator json) throws IOException {
        String kind = metadata.string("tokenizer.ggml.model").orElseThrow(() -> missing("tokenizer.ggml.model"));
        json.writeStartObject();
        json.writeStringField("version", "1.0");
        writeAddedTokens(json);
        switch (kind) {
            case "llama" -> writeSentencePiece(json);
            case "gpt2" -> writeByteLevel(json);
            default -> throw new EngineException("TOK-011", file + " has a vocabulary of the kind '" + kind
                    + "'; read are 'llama' (SentencePiece) and 'gpt2' (byte-level BPE). Serve the model from its Hugging Face folder instead");
        }
        json.writeEndObject();
    }

    private void writeAddedTokens(JsonGenerator json) throws IOException {
        json.writeArrayFieldStart("added_tokens");
        for (int id = 0; id < types.length; id++) {
            if (isAdded(id)) {
                json.writeStartObject();
                json.writeNumberField("id", id);
                json.writeStringField("content", tokens.get(id));
                json.writeBooleanField("single_word", false);
                json.writeBooleanField("lstrip", false);
                json.writeBooleanField("rstrip", false);
                json.writeBooleanField("normalized", false);
                json.writeBooleanField("special", types[id] != USER_DEFINED);
                json.writeEndObject();
            }
        }
        json.writeEndArray();
    }

    private void writeSentencePiece(JsonGenerator json) throws IOException {
        boolean prefix = metadata.bool("tokenizer.ggml.add_space_prefix").orElse(true);
        json.writeFieldName("normalizer");
        json.writeStartObject();
        json.writeStringField("type", "Sequence");
        json.writeArrayFieldStart("normalizers");
        if (prefix) {
            writeObject(json, "type", "Prepend", "prepend", "\u2581");
        }
        writeReplace(json, " ", "\u2581");
        json.writeEndArray();
        json.writeEndObject();
        json.writeNullField("pre_tokenizer");
        writeTemplate(json, true);
        writeDecoder(json, to -> writeSentencePieceDecoder(to, prefix));
        long unknown = metadata.integer("tokenizer.ggml.unknown_token_id").orElse(0L);
        List<String> merges = mergesFromScores();
        writeBpe(json, unknown >= 0 && unknown < tokens.size() ? tokens.get((int) unknown) : null, true, false, merges.size(),
                i -> out.string(merges.get(i)));
    }

    private static void writeSentencePieceDecoder(JsonGenerator json, boolean prefix) throws IOException {
        json.writeStartObject();
        json.writeStringField("type", "Sequence");
        json.writeArrayFieldStart("decoders");
        writeReplace(json, "\u2581", " ");
        writeObject(json, "type", "ByteFallback");
        writeObject(json, "type", "Fuse");
        if (prefix) {
            json.writeStartObject();
            json.writeStringField("type", "Strip");
            json.writeStringField("content", " ");
            json.writeNumberField("start", 1);
            json.writeNumberField("stop", 0);
            json.writeEndObject();
        }
        json.writeEndArray();
        json.writeEndObject();
    }

    @FunctionalInterface
    private interface Part {
        void write(JsonGenerator json) throws IOException;
    }

    /** Into the JSON, and as what it means here. */
    private void writeDecoder(JsonGenerator json, Part part) throws IOException {
        json.writeFieldName("decoder");
        part.write(json);
        ObjectMapper mapper = new ObjectMapper();
        try (TokenBuffer copy = new TokenBuffer(mapper, false)) {
            part.write(copy);
            decoder = DecoderSpec.parse(mapper.readTree(copy.asParser()));
        }
    }

    private void writeByteLevel(JsonGenerator json) throws IOException {
        PreTokenizer pre = PreTokenizer.of(metadata.string("tokenizer.ggml.pre").orElse("default"), file);
        if (pre.normalizeNfc) {
            json.writeFieldName("normalizer");
            writeObject(json, "type", "NFC");
        } else {
            json.writeNullField("normalizer");
        }
        json.writeFieldName("pre_tokenizer");
        if (pre.pattern.isEmpty()) {
            writeByteLevelStep(json, true);
        } else {
            json.writeStartObject();
            json.writeStringField("type", "Sequence");
            json.writeArrayFieldStart("pretokenizers");
            json.writeStartObject();
            json.writeStringField("type", "Split");
            json.writeFieldName("pattern");
            writeObject(json, "Regex", pre.pattern);
            json.writeStringField("behavior", "Isolated");
            json.writeBooleanField("invert", false);
            json.writeEndObject();
            writeByteLevelStep(json, pre == PreTokenizer.DIGITS);
            json.writeEndArray();
            json.writeEndObject();
        }
        writeTemplate(json, pre.bosByDefault);
        writeDecoder(json, to -> writeByteLevelStep(to, true));
        GgufArray.Strings merges = metadata.stringArray("tokenizer.ggml.merges").orElseThrow(() -> missing("tokenizer.ggml.merges"));
        GgufArray.Slices slices = merges.slices();
        writeBpe(json, null, false, pre.ignoreMerges, slices.size(), i -> writeEntry(slices, i, merges));
    }

    private static void writeByteLevelStep(JsonGenerator json, boolean useRegex) throws IOException {
        json.writeStartObject();
        json.writeStringField("type", "ByteLevel");
        json.writeBooleanField("add_prefix_space", false);
        json.writeBooleanField("trim_offsets", true);
        json.writeBooleanField("use_regex", useRegex);
        json.writeEndObject();
    }

    /** A leading bos and a trailing eos where the file asks for them. */
    private void writeTemplate(JsonGenerator json, boolean bosByDefault) throws IOException {
        int bos = metadata.bool("tokenizer.ggml.add_bos_token").orElse(bosByDefault) ? special("tokenizer.ggml.bos_token_id") : -1;
        int eos = metadata.bool("tokenizer.ggml.add_eos_token").orElse(false) ? special("tokenizer.ggml.eos_token_id") : -1;
        if (bos < 0 && eos < 0) {
            json.writeNullField("post_processor");
            return;
        }
        json.writeFieldName("post_processor");
        json.writeStartObject();
        json.writeStringField("type", "TemplateProcessing");
        for (String form : new String[] {"single", "pair"}) {
            json.writeArrayFieldStart(form);
            for (int part = 0; part < (form.equals("single") ? 1 : 2); part++) {
                writeTemplatePart(json, bos, part);
                json.writeStartObject();
                json.writeFieldName("Sequence");
                json.writeStartObject();
                json.writeStringField("id", part == 0 ? "A" : "B");
                json.writeNumberField("type_id", part);
                json.writeEndObject();
                json.writeEndObject();
                writeTemplatePart(json, eos, part);
            }
            json.writeEndArray();
        }
        json.writeObjectFieldStart("special_tokens");
        for (int id : bos == eos ? new int[] {bos} : new int[] {bos, eos}) {
            if (id >= 0) {
                json.writeObjectFieldStart(tokens.get(id));
                json.writeStringField("id", tokens.get(id));
                json.writeArrayFieldStart("ids");
                json.writeNumber(id);
                json.writeEndArray();
                json.writeArrayFieldStart("tokens");
                json.writeString(tokens.get(id));
                json.writeEndArray();
                json.writeEndObject();
            }
        }
        json.writeEndObject();
        json.writeEndObject();
    }

    private void writeTemplatePart(JsonGenerator json, int id, int typeId) throws IOException {
        if (id < 0) {
            return;
        }
        json.writeStartObject();
        json.writeFieldName("SpecialToken");
        json.writeStartObject();
        json.writeStringField("id", tokens.get(id));
        json.writeNumberField("type_id", typeId);
        json.writeEndObject();
        json.writeEndObject();
    }

    private int special(String key) {
        long id = metadata.integer(key).orElse(-1L);
        return id >= 0 && id < tokens.size() ? (int) id : -1;
    }

    private void writeBpe(JsonGenerator json, String unknown, boolean byteFallback, boolean ignoreMerges, int numMerges, IntConsumer merge)
            throws IOException {
        json.writeFieldName("model");
        json.writeStartObject();
        json.writeStringField("type", "BPE");
        json.writeStringField("unk_token", unknown);
        json.writeBooleanField("fuse_unk", byteFallback);
        json.writeBooleanField("byte_fallback", byteFallback);
        json.writeBooleanField("ignore_merges", ignoreMerges);
        beginRaw(json, "vocab");
        GgufArray.Strings strings = metadata.stringArray("tokenizer.ggml.tokens").orElseThrow();
        out.write('{');
        for (int id = 0; id < entries.size(); id++) {
            if (tokens.isRepeated(id)) {
                continue; // The first counts, as in a tokenizer.json that lists them in order.
            }
            if (id > 0) {
                out.write(',');
            }
            writeEntry(entries, id, strings);
            out.write(':');
            out.number(id);
        }
        out.write('}');
        beginRaw(json, "merges");
        out.write('[');
        for (int i = 0; i < numMerges; i++) {
            if (i > 0) {
                out.write(',');
            }
            merge.accept(i);
        }
        out.write(']');
        json.writeEndObject();
    }

    /** After this the value is written past the generator, which would make a string of each of some hundred thousand entries. */
    private static void beginRaw(JsonGenerator json, String field) throws IOException {
        json.writeFieldName(field);
        json.writeRawValue("");
        json.flush();
    }

    private void writeEntry(GgufArray.Slices from, int i, GgufArray.Strings named) {
        if (!out.string(from.bytes(), from.begin(i), from.end(i))) {
            named.get(i); // It knows the place in the file.
            throw new IllegalStateException("two opinions on what is UTF-8, at entry " + i);
        }
    }

    private record Merge(String text, float score, int leftId, int rightId) {}

    /**
     * SentencePiece joins, of all neighbours whose union is a vocabulary entry, the pair with the best score. As a merge list: every way
     * to cut an entry in two entries, best score first, ties by the ids of the halves.
     */
    private List<String> mergesFromScores() {
        float[] scores = metadata.floats("tokenizer.ggml.scores").orElseThrow(() -> missing("tokenizer.ggml.scores"));
        requireLength("tokenizer.ggml.scores", scores.length);
        List<Merge> merges = new ArrayList<>(tokens.size() * 2);
        for (int id = 0; id < tokens.size(); id++) {
            if (types[id] == CONTROL || types[id] == UNKNOWN || types[id] == BYTE) {
                continue; // Never made from text.
            }
            String token = tokens.get(id);
            for (int cut = 1; cut < Math.min(token.length(), 64); cut++) {
                if (Character.isLowSurrogate(token.charAt(cut))) {
                    continue;
                }
                int left = tokens.find(token.substring(0, cut));
                int right = left < 0 ? -1 : tokens.find(token.substring(cut));
                if (right >= 0 && token.indexOf(' ') < 0) {
                    merges.add(new Merge(token.substring(0, cut) + ' ' + token.substring(cut), scores[id], left, right));
                }
            }
        }
        merges.sort(Comparator.comparingDouble((Merge merge) -> -merge.score()).thenComparingInt(Merge::leftId).thenComparingInt(Merge::rightId));
        return merges.stream().map(Merge::text).toList();
    }

    private static void writeReplace(JsonGenerator json, String from, String to) throws IOException {
        json.writeStartObject();
        json.writeStringField("type", "Replace");
        json.writeFieldName("pattern");
        writeObject(json, "String", from);
        json.writeStringField("content", to);
        json.writeEndObject();
    }

    private static void writeObject(JsonGenerator json, String... fields) throws IOException {
        json.writeStartObject();
        for (int i = 0; i < fields.length; i += 2) {
            json.writeStringField(fields[i], fields[i + 1]);
        }
        json.writeEndObject();
    }

    private void requireLength(String key, int length) {
        if (length != tokens.size()) {
            throw new EngineException("TOK-010", file + ": '" + key + "' has " + length + " entries for " + tokens.size()
                    + " tokens; the file is damaged, convert it again");
        }
    }

    private EngineException missing(String key) {
        return new EngineException("TOK-010", file + " lacks the metadata key '" + key + "'; it has no usable vocabulary, convert it again");
    }
}

package io.millrace.engine.text;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import io.millrace.engine.EngineException;
import io.millrace.engine.weights.GgufMetadata;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

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
    private final String[] tokens;
    private final long[] types;

    private GgufTokenizerJson(Path file, GgufMetadata metadata) {
        this.file = file;
        this.metadata = metadata;
        tokens = metadata.strings("tokenizer.ggml.tokens").orElseThrow(() -> missing("tokenizer.ggml.tokens"));
        types = metadata.integers("tokenizer.ggml.token_type").orElseGet(() -> new long[tokens.length]);
        requireLength("tokenizer.ggml.token_type", types.length);
        if (tokens.length == 0 || tokens.length > TokenizerFile.MAX_TOKEN_ID) {
            throw new EngineException("TOK-010", file + " has a vocabulary of " + tokens.length + " tokens; 1 to " + TokenizerFile.MAX_TOKEN_ID
                    + " are read");
        }
    }

    static String of(Path file, GgufMetadata metadata) {
        GgufTokenizerJson writer = new GgufTokenizerJson(file, metadata);
        StringWriter text = new StringWriter(writer.tokens.length * 64);
        try (JsonGenerator json = new JsonFactory().createGenerator(text)) {
            writer.write(json);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return text.toString();
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
        for (int id = 0; id < tokens.length; id++) {
            if (types[id] == CONTROL || types[id] == UNKNOWN || types[id] == USER_DEFINED) {
                json.writeStartObject();
                json.writeNumberField("id", id);
                json.writeStringField("content", tokens[id]);
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
        json.writeFieldName("decoder");
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
        long unknown = metadata.integer("tokenizer.ggml.unknown_token_id").orElse(0L);
        writeBpe(json, unknown >= 0 && unknown < tokens.length ? tokens[(int) unknown] : null, true, false, mergesFromScores());
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
        json.writeFieldName("decoder");
        writeByteLevelStep(json, true);
        String[] merges = metadata.strings("tokenizer.ggml.merges").orElseThrow(() -> missing("tokenizer.ggml.merges"));
        List<String> list = new ArrayList<>(merges.length);
        Map<String, Integer> ids = ids();
        for (String merge : merges) {
            int space = merge.indexOf(' ', 1);
            if (space < 0 || !ids.containsKey(merge.substring(0, space)) || !ids.containsKey(merge.substring(space + 1))) {
                throw new EngineException("TOK-010", file + ": the merge '" + merge + "' is not a pair of vocabulary entries; convert the file again");
            }
            list.add(merge);
        }
        writeBpe(json, null, false, pre.ignoreMerges, list);
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
                json.writeObjectFieldStart(tokens[id]);
                json.writeStringField("id", tokens[id]);
                json.writeArrayFieldStart("ids");
                json.writeNumber(id);
                json.writeEndArray();
                json.writeArrayFieldStart("tokens");
                json.writeString(tokens[id]);
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
        json.writeStringField("id", tokens[id]);
        json.writeNumberField("type_id", typeId);
        json.writeEndObject();
        json.writeEndObject();
    }

    private int special(String key) {
        long id = metadata.integer(key).orElse(-1L);
        return id >= 0 && id < tokens.length ? (int) id : -1;
    }

    private void writeBpe(JsonGenerator json, String unknown, boolean byteFallback, boolean ignoreMerges, List<String> merges) throws IOException {
        json.writeFieldName("model");
        json.writeStartObject();
        json.writeStringField("type", "BPE");
        json.writeStringField("unk_token", unknown);
        json.writeBooleanField("fuse_unk", byteFallback);
        json.writeBooleanField("byte_fallback", byteFallback);
        json.writeBooleanField("ignore_merges", ignoreMerges);
        json.writeFieldName("vocab");
        json.writeStartObject();
        for (Map.Entry<String, Integer> entry : ids().entrySet()) {
            json.writeNumberField(entry.getKey(), entry.getValue());
        }
        json.writeEndObject();
        json.writeArrayFieldStart("merges");
        for (String merge : merges) {
            json.writeString(merge);
        }
        json.writeEndArray();
        json.writeEndObject();
    }

    /** Of entries that stand twice the first counts, as in a tokenizer.json that lists them in order. */
    private Map<String, Integer> ids() {
        Map<String, Integer> ids = HashMap.newHashMap(tokens.length);
        for (int id = 0; id < tokens.length; id++) {
            ids.putIfAbsent(tokens[id], id);
        }
        return ids;
    }

    private record Merge(String text, float score, int leftId, int rightId) {}

    /**
     * SentencePiece joins, of all neighbours whose union is a vocabulary entry, the pair with the best score. As a merge list: every way
     * to cut an entry in two entries, best score first, ties by the ids of the halves.
     */
    private List<String> mergesFromScores() {
        float[] scores = metadata.floats("tokenizer.ggml.scores").orElseThrow(() -> missing("tokenizer.ggml.scores"));
        requireLength("tokenizer.ggml.scores", scores.length);
        Map<String, Integer> ids = ids();
        List<Merge> merges = new ArrayList<>(tokens.length * 2);
        for (int id = 0; id < tokens.length; id++) {
            if (types[id] == CONTROL || types[id] == UNKNOWN || types[id] == BYTE) {
                continue; // Never made from text.
            }
            String token = tokens[id];
            for (int cut = 1; cut < Math.min(token.length(), 64); cut++) {
                if (Character.isLowSurrogate(token.charAt(cut))) {
                    continue;
                }
                Integer left = ids.get(token.substring(0, cut));
                Integer right = left == null ? null : ids.get(token.substring(cut));
                if (right != null && token.indexOf(' ') < 0) {
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
        if (length != tokens.length) {
            throw new EngineException("TOK-010", file + ": '" + key + "' has " + length + " entries for " + tokens.length
                    + " tokens; the file is damaged, convert it again");
        }
    }

    private EngineException missing(String key) {
        return new EngineException("TOK-010", file + " lacks the metadata key '" + key + "'; it has no usable vocabulary, convert it again");
    }
}

package io.millrace.engine.text;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.util.TokenBuffer;
import io.millrace.engine.weights.GgufArray;
import io.millrace.engine.weights.GgufMetadata;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.function.IntConsumer;

/**
 * Writes the vocabulary of a GGUF file as a Hugging Face {@code tokenizer.json}, so that both kinds of model files are tokenized by the
 * same code. SentencePiece vocabularies ({@code tokenizer.ggml.model = llama}) become BPE with byte fallback, their merges derived
 * from the scores. Of byte-level BPE ({@code gpt2}), which {@link ByteLevelBpe} encodes without this, it is what the tests compare with.
 *
 * <p>Errors: those of {@link GgufVocabulary}.
 */
final class GgufTokenizerJson {
    private final GgufVocabulary vocabulary;
    private final GgufMetadata metadata;
    private final GgufArray.Slices entries;
    private final GgufPieces tokens;
    private final AsciiJson out;
    private DecoderSpec decoder = new DecoderSpec.Other();

    private GgufTokenizerJson(GgufVocabulary vocabulary) {
        this.vocabulary = vocabulary;
        this.metadata = vocabulary.metadata();
        this.entries = vocabulary.entries();
        this.tokens = vocabulary.pieces();
        this.out = new AsciiJson(tokens.size() * 64);
    }

    static GgufTokenizerJson of(GgufVocabulary vocabulary) {
        GgufTokenizerJson writer = new GgufTokenizerJson(vocabulary);
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
        return vocabulary.tokenizerFile(decoder);
    }

    private void write(JsonGenerator json) throws IOException {
        String kind = vocabulary.kind();
        json.writeStartObject();
        json.writeStringField("version", "1.0");
        writeAddedTokens(json);
        switch (kind) {
            case "llama" -> writeSentencePiece(json);
            case "gpt2" -> writeByteLevel(json);
            default -> throw new IllegalStateException(kind);
        }
        json.writeEndObject();
    }

    private void writeAddedTokens(JsonGenerator json) throws IOException {
        json.writeArrayFieldStart("added_tokens");
        for (int id = 0; id < tokens.size(); id++) {
            if (vocabulary.isAdded(id)) {
                json.writeStartObject();
                json.writeNumberField("id", id);
                json.writeStringField("content", tokens.get(id));
                json.writeBooleanField("single_word", false);
                json.writeBooleanField("lstrip", false);
                json.writeBooleanField("rstrip", false);
                json.writeBooleanField("normalized", false);
                json.writeBooleanField("special", vocabulary.isSpecial(id));
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
        PreTokenizer pre = vocabulary.preTokenizer();
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
            writeByteLevelStep(json, pre.endsWithGpt2());
            json.writeEndArray();
            json.writeEndObject();
        }
        writeTemplate(json, pre.bosByDefault);
        writeDecoder(json, to -> writeByteLevelStep(to, true));
        GgufArray.Strings merges = vocabulary.merges();
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
        int bos = vocabulary.leadingId(bosByDefault);
        int eos = vocabulary.trailingId();
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
        float[] scores = metadata.floats("tokenizer.ggml.scores").orElseThrow(() -> vocabulary.missing("tokenizer.ggml.scores"));
        vocabulary.requireLength("tokenizer.ggml.scores", scores.length);
        List<Merge> merges = new ArrayList<>(tokens.size() * 2);
        for (int id = 0; id < tokens.size(); id++) {
            if (vocabulary.isNeverMadeFromText(id)) {
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
}

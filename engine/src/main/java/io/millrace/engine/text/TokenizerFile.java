package io.millrace.engine.text;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.util.Arrays;
import java.util.BitSet;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/**
 * The part of a tokenizer.json that decoding needs: vocabulary, added tokens and decoder. Read as a stream, so merges (the bulk of the
 * file) are never turned into objects. Immutable after {@link #parse}.
 */
final class TokenizerFile {
    /** Over every published vocabulary by a factor of four; a table is allocated up to the highest id, so a hostile id must not choose its size. */
    static final int MAX_TOKEN_ID = 1 << 20;

    /** Apart, since a GGUF file's vocabulary comes without JSON. */
    private static final class Json {
        static final JsonFactory FACTORY = new ObjectMapper().getFactory();
    }

    /** Null where the pieces are those of a JSON file. */
    private final GgufPieces gguf;
    private String[] pieces;
    private final Map<String, Integer> ids = new HashMap<>();
    private final BitSet added = new BitSet();
    private final BitSet special = new BitSet();
    private Map<Integer, Integer> renumbered = Map.of();
    /** Needed only while reading. */
    private Set<String> modelPieces = new HashSet<>();
    private Map<String, Integer> addedInFileOrder = new LinkedHashMap<>();
    private int vocabSize;
    private DecoderSpec decoder = new DecoderSpec.Other();

    private TokenizerFile(GgufPieces gguf) {
        this.gguf = gguf;
        this.pieces = new String[gguf == null ? 1024 : 0];
    }

    /**
     * What {@link #parse} makes of the JSON that {@link GgufTokenizerJson} writes, without reading it again.
     *
     * @param added   ids of added tokens
     * @param special of those, the ones that are skipped on request
     */
    static TokenizerFile of(GgufPieces pieces, BitSet added, BitSet special, DecoderSpec decoder) {
        TokenizerFile file = new TokenizerFile(pieces);
        file.added.or(added);
        file.special.or(special);
        file.decoder = decoder;
        added.stream().filter(pieces::isRepeated).forEach(id -> file.ids.put(pieces.get(id), id));
        file.vocabSize = pieces.size();
        while (file.vocabSize > 0 && file.piece(file.vocabSize - 1) == null) {
            file.vocabSize--;
        }
        file.modelPieces = null;
        file.addedInFileOrder = null;
        return file;
    }

    /** @throws IOException where the JSON is broken or not a tokenizer's; the message has no path */
    static TokenizerFile parse(String json) throws IOException {
        TokenizerFile file = new TokenizerFile(null);
        try (JsonParser parser = Json.FACTORY.createParser(json)) {
            file.readTop(parser);
        }
        if (file.vocabSize == 0) {
            throw new IOException("it has no model.vocab entries");
        }
        file.pieces = Arrays.copyOf(file.pieces, file.vocabSize);
        file.renumbered = file.findRenumbered();
        file.modelPieces = null;
        file.addedInFileOrder = null;
        return file;
    }

    /** The vocabulary entry of {@code id}, or null for a gap or an id out of range. */
    String piece(int id) {
        if (id < 0 || id >= vocabSize) {
            return null;
        }
        // Of entries that stand twice the first is the vocabulary's.
        return gguf == null ? pieces[id] : gguf.isRepeated(id) && !added.get(id) ? null : gguf.get(id);
    }

    int idOf(String piece) {
        Integer id = ids.get(piece);
        return id != null ? id : gguf == null ? -1 : gguf.find(piece);
    }

    int vocabSize() {
        return vocabSize;
    }

    /** Added with {@code "special": true}: what skip-special-tokens drops. */
    boolean isSpecial(int id) {
        return id >= 0 && special.get(id);
    }

    DecoderSpec decoder() {
        return decoder;
    }

    /**
     * Ids that the Rust library gives to added tokens, where they differ from the file's: it numbers those outside the model's vocabulary one
     * after the other, so a hole in the ids shifts them (GPT-4's file: 100256 where 100257 is written). The model was trained on the
     * file's ids.
     *
     * @return the library's id to the file's, empty for nearly every file
     */
    Map<Integer, Integer> renumberedByLibrary() {
        return renumbered;
    }

    private Map<Integer, Integer> findRenumbered() {
        Map<Integer, Integer> renumbered = new HashMap<>();
        int highest = -1;
        for (var token : addedInFileOrder.entrySet()) {
            int libraryId = token.getValue();
            if (!modelPieces.contains(token.getKey())) {
                libraryId = Math.max(highest + 1, modelPieces.size());
            }
            highest = Math.max(highest, libraryId);
            if (libraryId != token.getValue()) {
                renumbered.put(libraryId, token.getValue());
            }
        }
        return renumbered;
    }

    private void readTop(JsonParser parser) throws IOException {
        if (parser.nextToken() != JsonToken.START_OBJECT) {
            throw new IOException("it is not a JSON object");
        }
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            String field = parser.currentName();
            parser.nextToken();
            switch (field) {
                case "added_tokens" -> readAddedTokens(parser);
                case "decoder" -> decoder = DecoderSpec.parse(parser.readValueAsTree());
                case "model" -> readModel(parser);
                default -> parser.skipChildren();
            }
        }
    }

    private void readAddedTokens(JsonParser parser) throws IOException {
        JsonNode tokens = parser.readValueAsTree();
        for (JsonNode token : tokens) {
            if (!token.path("id").isInt() || !token.path("content").isTextual()) {
                throw new IOException("an entry of added_tokens lacks id or content");
            }
            int id = token.path("id").asInt();
            // Added tokens win over a vocabulary entry of the same id, wherever they stand in the file.
            put(token.path("content").asText(), id, true);
            special.set(id, token.path("special").asBoolean());
        }
    }

    private void readModel(JsonParser parser) throws IOException {
        if (parser.currentToken() != JsonToken.START_OBJECT) {
            throw new IOException("model is not an object");
        }
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            boolean isVocab = parser.currentName().equals("vocab");
            JsonToken start = parser.nextToken();
            if (!isVocab) {
                parser.skipChildren();
            } else if (start == JsonToken.START_OBJECT) {
                readVocabObject(parser);
            } else if (start == JsonToken.START_ARRAY) {
                readVocabArray(parser);
            } else {
                throw new IOException("model.vocab is neither an object nor an array");
            }
        }
    }

    private void readVocabObject(JsonParser parser) throws IOException {
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            String piece = parser.currentName();
            if (parser.nextToken() != JsonToken.VALUE_NUMBER_INT) {
                throw new IOException("an entry of model.vocab has no whole number as its id");
            }
            put(piece, parser.getIntValue(), false);
        }
    }

    /** Unigram models list {@code [piece, score]} pairs; the position is the id. */
    private void readVocabArray(JsonParser parser) throws IOException {
        for (int id = 0; parser.nextToken() == JsonToken.START_ARRAY; id++) {
            if (parser.nextToken() != JsonToken.VALUE_STRING) {
                throw new IOException("entry " + id + " of model.vocab is not a [piece, score] pair");
            }
            put(parser.getText(), id, false);
            while (parser.nextToken() != JsonToken.END_ARRAY) {
                if (parser.currentToken() == null) {
                    throw new IOException("model.vocab ends early");
                }
                parser.skipChildren();
            }
        }
    }

    private void put(String piece, int id, boolean isAdded) throws IOException {
        if (id < 0 || id > MAX_TOKEN_ID) {
            throw new IOException("token id " + id + " is outside [0, " + MAX_TOKEN_ID + "]");
        }
        if (id >= pieces.length) {
            pieces = Arrays.copyOf(pieces, Math.max(id + 1, pieces.length * 2));
        }
        if (isAdded || !added.get(id)) {
            pieces[id] = piece;
        }
        if (isAdded) {
            added.set(id);
            ids.put(piece, id);
            addedInFileOrder.putIfAbsent(piece, id);
        } else {
            modelPieces.add(piece);
            ids.putIfAbsent(piece, id);
        }
        vocabSize = Math.max(vocabSize, id + 1);
    }
}

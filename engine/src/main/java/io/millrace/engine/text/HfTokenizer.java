package io.millrace.engine.text;

import io.millrace.engine.EngineException;
import io.millrace.engine.weights.GgufFile;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/**
 * A Hugging Face {@code tokenizer.json}, or the vocabulary of a GGUF file as one. Encoding is the Rust library's own, or gives the same; decoding of byte-level and SentencePiece vocabularies is done
 * here, without crossing into native code, since it runs for every token of every stream. Thread-safe.
 */
public final class HfTokenizer implements Tokenizer {
    /** Gemma 3's file, the largest in common use, has 33 MB. */
    static final long MAX_FILE_BYTES = 256L << 20;

    private final TokenizerFile file;
    private final TextEncoder encoder;
    /** Null where the native library decodes. */
    private final TokenTexts texts;

    private HfTokenizer(TokenizerFile file, TextEncoder encoder) {
        this.file = file;
        this.encoder = encoder;
        this.texts = switch (file.decoder()) {
            case DecoderSpec.ByteLevel _ -> new TokenTexts.ByteLevel(file);
            case DecoderSpec.SentencePiece spec -> new TokenTexts.SentencePiece(file, spec);
            case DecoderSpec.Other _ -> null;
        };
    }

    /** Loads the native library ahead of need. @throws EngineException {@code TOK-004} */
    public static void warmUp() {
        TokenizersNativeLibrary.load();
    }

    /**
     * @param folder a model folder with a {@code tokenizer.json}
     * @throws EngineException TOK-001 the file is missing, TOK-002 too large, TOK-003 unreadable or malformed, TOK-004 no native library
     */
    public static HfTokenizer load(Path folder) {
        Path path = folder.resolve("tokenizer.json");
        if (!Files.isRegularFile(path)) {
            throw new EngineException("TOK-001", "there is no " + path
                    + "; download the model with its tokenizer.json (other formats can be converted with transformers' save_pretrained)");
        }
        return parse(read(path), path);
    }

    /**
     * The vocabulary of a GGUF file. Byte-level BPE is encoded here, SentencePiece by the Rust library.
     *
     * @throws EngineException {@code TOK-003}, {@code TOK-004}, {@code TOK-010}, {@code TOK-011}
     */
    public static HfTokenizer of(GgufFile gguf) {
        GgufVocabulary vocabulary = new GgufVocabulary(gguf.path(), gguf.metadata());
        return vocabulary.kind().equals("gpt2") ? new HfTokenizer(vocabulary.tokenizerFile(new DecoderSpec.ByteLevel()), new ByteLevelBpe(vocabulary))
                : throughLibrary(vocabulary);
    }

    /** The same with the Rust library for any vocabulary. */
    static HfTokenizer throughLibrary(GgufVocabulary vocabulary) {
        GgufTokenizerJson written = GgufTokenizerJson.of(vocabulary);
        try {
            return new HfTokenizer(written.tokenizerFile(), new NativeTokenizer(written.json(), Map.of()));
        } catch (EngineException e) {
            throw e;
        } catch (RuntimeException e) {
            throw malformed(vocabulary.file(), e);
        }
    }

    private static HfTokenizer parse(String json, Path path) {
        TokenizerFile file;
        try {
            file = TokenizerFile.parse(json);
        } catch (IOException e) {
            throw malformed(path, e);
        }
        try {
            return new HfTokenizer(file, new NativeTokenizer(json, file.renumberedByLibrary()));
        } catch (EngineException e) {
            throw e;
        } catch (RuntimeException e) {
            throw malformed(path, e);
        }
    }

    private static String read(Path path) {
        try {
            long size = Files.size(path);
            if (size > MAX_FILE_BYTES) {
                throw new EngineException("TOK-002", path + " has " + size + " bytes, the limit is " + MAX_FILE_BYTES
                        + "; check that it is a tokenizer.json");
            }
            return Files.readString(path);
        } catch (IOException e) {
            throw malformed(path, e);
        }
    }

    private static EngineException malformed(Path path, Exception cause) {
        String reason = String.valueOf(cause.getMessage()).lines().findFirst().orElse("");
        return new EngineException("TOK-003", path + " cannot be read as a tokenizer: " + reason
                + "; download it again, or check that it is not a Git LFS pointer", cause);
    }

    @Override
    public int[] encode(String text, boolean addSpecialTokens) {
        return encoder.encode(withoutLoneSurrogates(text), addSpecialTokens);
    }

    /** Lone surrogates are no characters and have no UTF-8 form: each becomes U+FFFD before the text leaves Java. */
    private static String withoutLoneSurrogates(String text) {
        StringBuilder copy = null;
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (!Character.isSurrogate(c)) {
                continue;
            }
            if (Character.isHighSurrogate(c) && i + 1 < text.length() && Character.isLowSurrogate(text.charAt(i + 1))) {
                i++;
                continue;
            }
            if (copy == null) {
                copy = new StringBuilder(text);
            }
            copy.setCharAt(i, '\uFFFD');
        }
        return copy == null ? text : copy.toString();
    }

    @Override
    public String decode(int[] ids, boolean skipSpecialTokens) {
        if (texts == null) {
            return decodeNatively(ids, skipSpecialTokens);
        }
        IncrementalDecoder decoder = decoder(new int[0], skipSpecialTokens);
        StringBuilder text = new StringBuilder(ids.length * 4);
        for (int id : ids) {
            text.append(decoder.append(id));
        }
        return text.append(decoder.finish()).toString();
    }

    /** The Rust library's decode, for decoders that are not known here and for tests to compare with. */
    String decodeNatively(int[] ids, boolean skipSpecialTokens) {
        return library().decode(ids, 0, ids.length, skipSpecialTokens);
    }

    private NativeTokenizer library() {
        return (NativeTokenizer) encoder;
    }

    @Override
    public int vocabSize() {
        return file.vocabSize();
    }

    @Override
    public boolean isSpecial(int tokenId) {
        return file.isSpecial(tokenId);
    }

    /** Empty for an id that the vocabulary leaves out. */
    @Override
    public String piece(int tokenId) {
        String piece = file.piece(tokenId);
        return piece == null ? "" : piece;
    }

    @Override
    public int idOf(String piece) {
        return file.idOf(piece);
    }

    @Override
    public byte[] bytes(int tokenId) {
        if (file.isSpecial(tokenId) || file.piece(tokenId) == null) {
            return new byte[0];
        }
        return texts != null ? texts.bytes(tokenId) : decodeNatively(new int[] {tokenId}, true).getBytes(StandardCharsets.UTF_8);
    }

    @Override
    public IncrementalDecoder decoder(int[] promptIds, boolean skipSpecialTokens) {
        return switch (file.decoder()) {
            case DecoderSpec.ByteLevel _ -> new ByteLevelDecoder(texts, promptIds, skipSpecialTokens);
            case DecoderSpec.SentencePiece spec ->
                    new SentencePieceDecoder((TokenTexts.SentencePiece) texts, file, spec, promptIds, skipSpecialTokens);
            case DecoderSpec.Other _ -> new WindowDecoder(library(), promptIds, skipSpecialTokens);
        };
    }

    /** Frees the native memory; calls that are under way finish first. Decoding by own tables still works afterwards. */
    @Override
    public void close() {
        encoder.close();
    }
}

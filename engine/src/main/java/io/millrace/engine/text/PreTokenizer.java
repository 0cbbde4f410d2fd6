package io.millrace.engine.text;

import io.millrace.engine.EngineException;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Pattern;

/**
 * How a pre-tokenizer that GGUF files name ({@code tokenizer.ggml.pre}) cuts text before byte-level BPE: by one pattern or by two in turn, whose
 * matches and what lies between them are the pieces. Whole entries of the vocabulary may go before merges, and a begin-of-sequence token may be
 * added where the file does not say.
 */
enum PreTokenizer {
    GPT2("", false, false, false), LLAMA3(Patterns.THREE_DIGITS, false, true, true), CL100K(Patterns.THREE_DIGITS, false, false, false),
    QWEN2(Patterns.CONTRACTIONS + "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" + Patterns.WORDS_AND_PUNCTUATION, true, false, false),
    /** GPT-2's pattern after every digit was cut off. */
    DIGITS("\\p{N}", false, false, false),
    GPT4O(Patterns.CASED_1 + Patterns.SUFFIX + "|" + Patterns.CASED_2 + Patterns.SUFFIX + "|\\p{N}{1,3}" + Patterns.PUNCTUATION_WITH_SLASH, false, false, false),
    TEKKEN(Patterns.CASED_1 + "|" + Patterns.CASED_2 + "|\\p{N}" + Patterns.PUNCTUATION_WITH_SLASH, false, true, true);

    /** Constants of an enum cannot read its own static fields. */
    private static final class Patterns {
        static final String CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|";
        static final String WORDS_AND_PUNCTUATION = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

        /** Words of mixed case as of o200k_base (tiktoken): upper-case run, then lower-case letters, marks with either. */
        static final String CASED_1 = "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+";
        static final String CASED_2 = "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*";
        static final String SUFFIX = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?";
        static final String PUNCTUATION_WITH_SLASH = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
        static final String THREE_DIGITS = CONTRACTIONS + "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}" + WORDS_AND_PUNCTUATION;
        static final String GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
    }

    /** For the Rust library; empty where GPT-2's own, which it knows, is all. */
    final String pattern;
    final boolean normalizeNfc;
    final boolean ignoreMerges;
    final boolean bosByDefault;

    PreTokenizer(String pattern, boolean normalizeNfc, boolean ignoreMerges, boolean bosByDefault) {
        this.pattern = pattern;
        this.normalizeNfc = normalizeNfc;
        this.ignoreMerges = ignoreMerges;
        this.bosByDefault = bosByDefault;
    }

    /** Whether pieces are cut by GPT-2's pattern, after {@link #pattern} if there is one. */
    boolean endsWithGpt2() {
        return this == GPT2 || this == DIGITS;
    }

    /** The cuts, one after the other. Classes and case are Unicode's, as they are to the Rust library. */
    List<Pattern> cuts() {
        Pattern gpt2 = endsWithGpt2() ? Pattern.compile(Patterns.GPT2, Pattern.UNICODE_CHARACTER_CLASS) : null;
        Pattern own = pattern.isEmpty() ? null : Pattern.compile(pattern, Pattern.UNICODE_CHARACTER_CLASS);
        return own == null ? List.of(gpt2) : gpt2 == null ? List.of(own) : List.of(own, gpt2);
    }

    /** @throws EngineException {@code TOK-011} for a name that is not known */
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

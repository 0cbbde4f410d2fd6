package io.millrace.server.openai;

import io.millrace.engine.text.Tokenizer;
import java.nio.charset.StandardCharsets;

/**
 * Text to prompt tokens. A tokenizer needs several hundred bytes of working memory per byte of text, so text that could not fit the
 * context even if every token were the vocabulary's longest is refused before the tokenizer sees it. Thread-safe.
 */
final class PromptEncoder {
    /** Normalisation may shorten a text (compositions, runs of spaces): so much more is let through for the tokenizer to judge. */
    private static final int NORMALISATION_ALLOWANCE = 2;

    private final Tokenizer tokenizer;
    private final int maxModelLen;
    private final long maxBytes;

    /** @param maxModelLen tokens of the longest sequence */
    PromptEncoder(Tokenizer tokenizer, int maxModelLen) {
        this.tokenizer = tokenizer;
        this.maxModelLen = maxModelLen;
        this.maxBytes = (long) NORMALISATION_ALLOWANCE * maxModelLen * longestTokenBytes(tokenizer);
    }

    private static int longestTokenBytes(Tokenizer tokenizer) {
        int longest = 1;
        for (int id = 0; id < tokenizer.vocabSize(); id++) {
            // As the file spells it, which is never shorter than the text: cheap to know even for a quarter of a million entries.
            longest = Math.max(longest, tokenizer.piece(id).getBytes(StandardCharsets.UTF_8).length);
        }
        return longest;
    }

    /**
     * @param param the request field the text came from
     * @throws ApiException 400 if the text cannot fit the context
     */
    int[] encode(String text, boolean addSpecialTokens, String param) {
        // A character is at least one byte and at most three (two for each half of a pair): the exact count is rarely needed.
        if (text.length() > maxBytes / 3) {
            long bytes = text.length() > maxBytes ? text.length() : utf8Length(text);
            if (bytes > maxBytes) {
                throw ApiException.badRequest("context_length_exceeded", param, "The text of `" + param + "` has "
                        + (text.length() > maxBytes ? "at least " : "") + bytes + " bytes; this model's context of " + maxModelLen
                        + " tokens cannot hold more than " + maxBytes + " in its vocabulary; shorten it.");
            }
        }
        return tokenizer.encode(text, addSpecialTokens);
    }

    /** Throws as {@link #encode} does, for a prompt that came as ids. */
    void checkLength(int numTokens) {
        if (numTokens > maxModelLen) {
            throw ApiException.badRequest("context_length_exceeded", "prompt", "The `prompt` has " + numTokens
                    + " tokens, but the context of this model is " + maxModelLen + " tokens, prompt and answer together; shorten it.");
        }
    }

    private static long utf8Length(String text) {
        long bytes = 0;
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            bytes += c < 0x80 ? 1 : c < 0x800 || Character.isSurrogate(c) ? 2 : 3;
        }
        return bytes;
    }
}

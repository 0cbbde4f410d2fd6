package io.millrace.engine.text;

/**
 * Turns a stream of token ids into text as it comes, never emitting half a UTF-8 character: the concatenation of all that
 * {@link #append} and {@link #finish} return equals the tokenizer's decode of the whole (after the prompt's text). One per stream, one thread.
 */
public interface IncrementalDecoder {
    /** Text that became certain with this token; often the token's own, empty while a character is incomplete. */
    String append(int tokenId);

    /** What was held back; an incomplete character becomes U+FFFD. */
    String finish();
}

package io.millrace.engine.text;

/** Text to token ids and back. Thread-safe. */
public interface Tokenizer extends AutoCloseable {
    /** @param addSpecialTokens whether the tokenizer's own template (typically a leading bos) is applied */
    int[] encode(String text, boolean addSpecialTokens);

    /** The whole text of {@code ids}. For streaming use {@link #decoder}. */
    String decode(int[] ids, boolean skipSpecialTokens);

    /** Ids in {@code [0, vocabSize)}, added tokens included. */
    int vocabSize();

    boolean isSpecial(int tokenId);

    /** The vocabulary entry as written in the file, such as {@code Ġdog}, {@code ▁dog}, {@code <0x0A>}. */
    String piece(int tokenId);

    /** The id of an exact vocabulary entry, or -1. */
    int idOf(String piece);

    /** The bytes this token stands for in running text (for logprobs' {@code bytes}); empty for special tokens. */
    byte[] bytes(int tokenId);

    /** A decoder for one output stream, starting after {@code promptIds} (whose text is not emitted but sets the context). */
    IncrementalDecoder decoder(int[] promptIds, boolean skipSpecialTokens);

    @Override
    void close();
}

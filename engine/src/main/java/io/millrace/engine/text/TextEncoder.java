package io.millrace.engine.text;

/** Text to token ids. Thread-safe. */
sealed interface TextEncoder extends AutoCloseable permits NativeTokenizer, ByteLevelBpe {
    /**
     * @param text             without lone surrogates
     * @param addSpecialTokens whether the tokens that open and close a text are added
     */
    int[] encode(String text, boolean addSpecialTokens);

    @Override
    void close();
}

package io.millrace.server.openai;

import io.millrace.engine.text.Tokenizer;
import java.util.Arrays;
import java.util.Set;

/** Special tokens that mark the parts of an answer: decoding leaves them out of the text, and whoever tells the parts apart needs them. */
final class SpokenTokens {
    static final SpokenTokens NONE = new SpokenTokens(new int[0], new String[0]);

    private final int[] ids;
    private final String[] texts;

    private SpokenTokens(int[] ids, String[] texts) {
        this.ids = ids;
        this.texts = texts;
    }

    /** Those of {@code markers} that are special tokens of the vocabulary. */
    static SpokenTokens of(Set<String> markers, Tokenizer tokenizer) {
        int[] ids = markers.stream().mapToInt(tokenizer::idOf).filter(id -> id >= 0 && tokenizer.isSpecial(id)).toArray();
        return ids.length == 0 ? NONE : new SpokenTokens(ids, Arrays.stream(ids).mapToObj(tokenizer::piece).toArray(String[]::new));
    }

    /** What the token says; empty for all others. */
    String text(int token) {
        for (int i = 0; i < ids.length; i++) {
            if (ids[i] == token) {
                return texts[i];
            }
        }
        return "";
    }
}

package io.millrace.engine.text;

import java.util.Arrays;

/**
 * Streams the text of decoders whose rules are known only to the native library (WordPiece, CTC, suffix-marking BPE): decodes a short
 * window with and without the newest tokens and emits the difference, the way vLLM and TGI stream. Text held back is bounded by
 * {@link #MAX_HELD_TOKENS}.
 */
final class WindowDecoder implements IncrementalDecoder {
    /** Tokens before the stream that give the first one its context; five is what vLLM keeps. */
    private static final int NUM_CONTEXT_TOKENS = 5;
    /** No character spans more tokens than its four bytes; beyond this an unfinished tail is malformed, not incomplete. */
    private static final int MAX_HELD_TOKENS = 8;

    private final NativeTokenizer tokenizer;
    private final boolean skipSpecialTokens;
    /** Window: {@code [0, numShown)} is text already emitted, {@code [numShown, numIds)} is held. */
    private int[] ids;
    private int numShown;
    private int numIds;

    WindowDecoder(NativeTokenizer tokenizer, int[] promptIds, boolean skipSpecialTokens) {
        this.tokenizer = tokenizer;
        this.skipSpecialTokens = skipSpecialTokens;
        int numContext = Math.min(NUM_CONTEXT_TOKENS, promptIds.length);
        this.ids = Arrays.copyOf(Arrays.copyOfRange(promptIds, promptIds.length - numContext, promptIds.length), 32);
        this.numShown = numContext;
        this.numIds = numContext;
    }

    @Override
    public String append(int tokenId) {
        ids[numIds++] = tokenId;
        return emit(numIds - numShown >= MAX_HELD_TOKENS);
    }

    @Override
    public String finish() {
        return numShown == numIds ? "" : emit(true);
    }

    private String emit(boolean evenIfIncomplete) {
        String before = tokenizer.decode(ids, 0, numShown, skipSpecialTokens);
        String after = tokenizer.decode(ids, 0, numIds, skipSpecialTokens);
        if (!evenIfIncomplete && (after.length() <= before.length() || after.endsWith("\uFFFD"))) {
            return "";
        }
        int numKept = Math.min(NUM_CONTEXT_TOKENS, numIds);
        System.arraycopy(ids, numIds - numKept, ids, 0, numKept);
        numShown = numKept;
        numIds = numKept;
        return after.length() <= before.length() ? "" : after.substring(before.length());
    }
}

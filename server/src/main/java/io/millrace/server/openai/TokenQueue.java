package io.millrace.server.openai;

import io.millrace.engine.StepResult;
import io.millrace.scheduler.FinishReason;
import io.millrace.scheduler.TokenSink;

/**
 * One choice's tokens on their way from the engine thread to the connection's thread: one writer, one reader, no locks.
 *
 * <p>Tokens lie in segments of fixed size. A reader that keeps up hands each emptied segment back, so nothing is allocated in the steady
 * state; one that falls behind (a slow client) makes the queue grow, by at most the request's max_tokens, and never makes the engine wait.
 *
 * <pre>
 *   head ──► [ read | unread ] ──► [ unread ] ──► [ unread | free ] ◄── tail        spare: one emptied segment
 * </pre>
 */
final class TokenQueue implements TokenSink {
    private static final int SEGMENT_TOKENS = 32;

    private static final class Segment {
        private final int[] ids = new int[SEGMENT_TOKENS];
        private final float[] logprobs;
        private final int[] numTop;
        private final int[] topIds;
        private final float[] topLogprobs;
        private Segment next;

        private Segment(int maxTop) {
            int scored = maxTop < 0 ? 0 : SEGMENT_TOKENS;
            logprobs = new float[scored];
            numTop = new int[scored];
            topIds = new int[scored * Math.max(maxTop, 0)];
            topLogprobs = new float[topIds.length];
        }
    }

    private final Signal signal;
    private final int maxTop;
    private final PromptScores promptScores;

    // Engine thread.
    private Segment tail;
    private long written;
    // Reader.
    private Segment head;
    private long read;
    private int slot;
    // Both: what was written before `published` or `finished` is visible to a reader that sees them.
    private volatile long published;
    private volatile boolean finished;
    private volatile Segment spare;
    private FinishReason finishReason;
    private int stopTokenId;
    private String failure;

    /** @param maxTop       alternatives kept per token; -1 = no log-probabilities at all
     *  @param promptScores where scores of prompt tokens go, or null */
    TokenQueue(Signal signal, int maxTop, PromptScores promptScores) {
        this.signal = signal;
        this.maxTop = maxTop;
        this.promptScores = promptScores;
        tail = new Segment(maxTop);
        head = tail;
    }

    @Override
    public void onPromptScored(int firstPosition, int count, StepResult result, int firstRow) {
        if (promptScores != null) {
            promptScores.set(firstPosition, count, result, firstRow);
        }
    }

    @Override
    public void onToken(int tokenId, StepResult result, int row) {
        int at = (int) (written % SEGMENT_TOKENS);
        if (at == 0 && written > 0) {
            Segment segment = spare;
            if (segment == null) {
                segment = new Segment(maxTop);
            } else {
                spare = null;
            }
            tail.next = segment;
            tail = segment;
        }
        tail.ids[at] = tokenId;
        if (maxTop >= 0) {
            tail.logprobs[at] = result.logprob(row);
            int count = Math.min(maxTop, result.numTop(row));
            tail.numTop[at] = count;
            for (int k = 0; k < count; k++) {
                tail.topIds[at * maxTop + k] = result.topId(row, k);
                tail.topLogprobs[at * maxTop + k] = result.topLogprob(row, k);
            }
        }
        published = ++written;
        signal.raise();
    }

    @Override
    public void onFinish(FinishReason reason, int stopToken, String message) {
        finishReason = reason;
        stopTokenId = stopToken;
        failure = message;
        finished = true;
        signal.raise();
    }

    /** Whether a token is ready; what follows, until {@link #advance}, is about that token. */
    boolean hasToken() {
        if (read == published) {
            return false;
        }
        if (slot == SEGMENT_TOKENS) {
            // Linked before its first token was published, so it is there.
            Segment emptied = head;
            head = emptied.next;
            emptied.next = null;
            spare = emptied;
            slot = 0;
        }
        return true;
    }

    int token() {
        return head.ids[slot];
    }

    float logprob() {
        return head.logprobs[slot];
    }

    int numTop() {
        return head.numTop[slot];
    }

    int topId(int k) {
        return head.topIds[slot * maxTop + k];
    }

    float topLogprob(int k) {
        return head.topLogprobs[slot * maxTop + k];
    }

    void advance() {
        read++;
        slot++;
    }

    /** No more tokens will be written; ask {@link #hasToken} after this, not before. */
    boolean isFinished() {
        return finished;
    }

    FinishReason finishReason() {
        return finishReason;
    }

    int stopTokenId() {
        return stopTokenId;
    }

    String failure() {
        return failure;
    }

    PromptScores promptScores() {
        return promptScores;
    }
}

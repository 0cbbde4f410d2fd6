package io.millrace.server.serving;

import io.millrace.engine.StepResult;
import io.millrace.scheduler.FinishReason;
import io.millrace.scheduler.TokenSink;
import java.util.concurrent.locks.LockSupport;

/**
 * The tokens of one request with their times, from the engine thread to one reader. All memory is taken at the start, so that the
 * engine thread only writes two array elements and wakes the reader.
 */
public final class TokenStream implements TokenSink {
    private final int[] tokenIds;
    private final long[] arrivalNanos;
    private final Thread reader;
    private int stopTokenId = -1;
    private String message;
    private long finishNanos;
    /** Published last, so that what it counts is visible to who reads it. */
    private volatile int numTokens;
    private volatile FinishReason finishReason;
    private int numRead;

    /** @param reader the one thread that will call {@link #next} and {@link #awaitEnd} */
    public TokenStream(int maxTokens, Thread reader) {
        // One more: a stop token is passed too.
        this.tokenIds = new int[maxTokens + 1];
        this.arrivalNanos = new long[maxTokens + 1];
        this.reader = reader;
    }

    /** The next token in order, waiting for it; -1 after the last. */
    public int next() {
        while (numRead == numTokens) {
            if (finishReason != null && numRead == numTokens) {
                return -1;
            }
            LockSupport.park(this);
        }
        return tokenIds[numRead++];
    }

    public FinishReason awaitEnd() {
        while (finishReason == null) {
            LockSupport.park(this);
        }
        return finishReason;
    }

    /** Output tokens so far, a stop token included. */
    public int numTokens() {
        return numTokens;
    }

    /** When token {@code i} came, by {@link System#nanoTime}. */
    public long arrivalNanos(int i) {
        return arrivalNanos[i];
    }

    /** After the end: when it was. */
    public long finishNanos() {
        return finishNanos;
    }

    /** After the end: the token that ended it, or -1. */
    public int stopTokenId() {
        return stopTokenId;
    }

    /** After the end: what went wrong, or null. */
    public String message() {
        return message;
    }

    @Override
    public void onToken(int tokenId, StepResult result, int row) {
        int n = numTokens;
        tokenIds[n] = tokenId;
        arrivalNanos[n] = System.nanoTime();
        numTokens = n + 1;
        LockSupport.unpark(reader);
    }

    @Override
    public void onFinish(FinishReason reason, int stopToken, String why) {
        stopTokenId = stopToken;
        message = why;
        finishNanos = System.nanoTime();
        finishReason = reason;
        LockSupport.unpark(reader);
    }
}

package io.millrace.scheduler;

import io.millrace.engine.StepResult;
import java.util.Arrays;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** Keeps all it is told, and fails the test's later checks if it is told anything after its end. */
final class RecordingSink implements TokenSink {
    private int[] tokens = new int[16];
    private int numTokens;
    private int[] scored = new int[16];
    private int numScored;
    private int numFinishes;
    private String fault;
    private final CountDownLatch ended = new CountDownLatch(1);
    private final CountDownLatch started = new CountDownLatch(1);
    volatile FinishReason reason;
    volatile int stopTokenId = -2;
    volatile String message;

    @Override
    public synchronized void onPromptScored(int firstPosition, int count, StepResult result, int firstRow) {
        expectOpen();
        for (int k = 0; k < count; k++) {
            scored = numScored == scored.length ? Arrays.copyOf(scored, 2 * numScored) : scored;
            // The position beside the token the row is about: both must be right.
            scored[numScored++] = (firstPosition + k) << 16 | result.rowToken(firstRow + k);
        }
    }

    @Override
    public synchronized void onToken(int tokenId, StepResult result, int row) {
        expectOpen();
        if (result.rowToken(row) != tokenId) {
            fault = "row " + row + " is about token " + result.rowToken(row) + ", not " + tokenId;
        }
        tokens = numTokens == tokens.length ? Arrays.copyOf(tokens, 2 * numTokens) : tokens;
        tokens[numTokens++] = tokenId;
        started.countDown();
    }

    @Override
    public synchronized void onFinish(FinishReason why, int stopToken, String text) {
        if (++numFinishes > 1) {
            fault = "finished " + numFinishes + " times";
        }
        reason = why;
        stopTokenId = stopToken;
        message = text;
        ended.countDown();
    }

    private void expectOpen() {
        if (numFinishes > 0) {
            fault = "called after its end";
        }
    }

    synchronized int[] tokens() {
        return Arrays.copyOf(tokens, numTokens);
    }

    /** Prompt positions scored, in the order of the calls. */
    synchronized int[] scoredPositions() {
        return Arrays.stream(scored, 0, numScored).map(s -> s >>> 16).toArray();
    }

    synchronized int[] scoredTokens() {
        return Arrays.stream(scored, 0, numScored).map(s -> s & 0xFFFF).toArray();
    }

    synchronized int numFinishes() {
        return numFinishes;
    }

    /** What was wrong with the calls; null if nothing. */
    synchronized String fault() {
        return fault;
    }

    boolean awaitEnd() throws InterruptedException {
        return ended.await(20, TimeUnit.SECONDS);
    }

    boolean awaitFirstToken() throws InterruptedException {
        return started.await(20, TimeUnit.SECONDS);
    }
}

package io.millrace.server.openai;

import io.millrace.engine.StepResult;

/** Log-probabilities of a prompt's tokens: written by the engine thread before the first output token, read afterwards. */
final class PromptScores {
    private final int maxTop;
    private final boolean[] known;
    private final float[] logprobs;
    private final int[] numTop;
    private final int[] topIds;
    private final float[] topLogprobs;

    PromptScores(int numPromptTokens, int maxTop) {
        this.maxTop = maxTop;
        known = new boolean[numPromptTokens];
        logprobs = new float[numPromptTokens];
        numTop = new int[numPromptTokens];
        topIds = new int[numPromptTokens * maxTop];
        topLogprobs = new float[numPromptTokens * maxTop];
    }

    void set(int firstPosition, int count, StepResult result, int firstRow) {
        for (int i = 0; i < count; i++) {
            int position = firstPosition + i;
            int row = firstRow + i;
            known[position] = true;
            logprobs[position] = result.logprob(row);
            numTop[position] = Math.min(maxTop, result.numTop(row));
            for (int k = 0; k < numTop[position]; k++) {
                topIds[position * maxTop + k] = result.topId(row, k);
                topLogprobs[position * maxTop + k] = result.topLogprob(row, k);
            }
        }
    }

    /** False for the first token, which nothing predicts. */
    boolean isKnown(int position) {
        return known[position];
    }

    float logprob(int position) {
        return logprobs[position];
    }

    int numTop(int position) {
        return numTop[position];
    }

    int topId(int position, int k) {
        return topIds[position * maxTop + k];
    }

    float topLogprob(int position, int k) {
        return topLogprobs[position * maxTop + k];
    }
}

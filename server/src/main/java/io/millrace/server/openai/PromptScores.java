package io.millrace.server.openai;

import io.millrace.engine.StepResult;

/**
 * Log-probabilities of a prompt's tokens, shared by all choices that continue it: written by the engine thread, each position once and
 * before the first output token of any of them, read afterwards. The arrays come with the first score, so a request that waits or is
 * refused has none.
 */
final class PromptScores {
    private final int numTokens;
    private final int maxTop;
    private boolean[] known;
    private float[] logprobs;
    private int[] numTop;
    private int[] topIds;
    private float[] topLogprobs;

    PromptScores(int numPromptTokens, int maxTop) {
        this.numTokens = numPromptTokens;
        this.maxTop = maxTop;
    }

    void set(int firstPosition, int count, StepResult result, int firstRow) {
        if (known == null) {
            logprobs = new float[numTokens];
            numTop = new int[numTokens];
            topIds = new int[numTokens * maxTop];
            topLogprobs = new float[numTokens * maxTop];
            known = new boolean[numTokens];
        }
        for (int i = 0; i < count; i++) {
            int position = firstPosition + i;
            if (known[position]) {
                continue; // another choice of the prompt brought it, and may be reading it
            }
            int row = firstRow + i;
            logprobs[position] = result.logprob(row);
            numTop[position] = Math.min(maxTop, result.numTop(row));
            for (int k = 0; k < numTop[position]; k++) {
                topIds[position * maxTop + k] = result.topId(row, k);
                topLogprobs[position * maxTop + k] = result.topLogprob(row, k);
            }
            known[position] = true;
        }
    }

    /** False for the first token, which nothing predicts. */
    boolean isKnown(int position) {
        return known != null && known[position];
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

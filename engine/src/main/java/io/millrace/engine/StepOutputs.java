package io.millrace.engine;

import io.millrace.kernels.SamplingRows;

/** The result of one step, read in place from the backend's output arrays. Reused for every step. */
final class StepOutputs implements StepResult {
    private final SamplingRows rows;
    private final int[] sampledRow;
    private final int[] firstScoredRow;
    private final int[] numScoredRows;
    private final int[] numTop;

    StepOutputs(SamplingRows rows, int maxSequences) {
        this.rows = rows;
        sampledRow = new int[maxSequences];
        firstScoredRow = new int[maxSequences];
        numScoredRows = new int[maxSequences];
        numTop = new int[rows.capacity()];
    }

    void setEntry(int i, int firstScored, int scored, int sampled) {
        firstScoredRow[i] = firstScored;
        numScoredRows[i] = scored;
        sampledRow[i] = sampled;
    }

    void setTop(int row, int requested) {
        numTop[row] = Math.min(rows.maxTop(), Math.max(0, requested));
    }

    @Override
    public int token(int i) {
        return sampledRow[i] < 0 ? -1 : rows.token(sampledRow[i]);
    }

    @Override
    public int sampledRow(int i) {
        return sampledRow[i];
    }

    @Override
    public int firstScoredRow(int i) {
        return firstScoredRow[i];
    }

    @Override
    public int numScoredRows(int i) {
        return numScoredRows[i];
    }

    @Override
    public int rowToken(int r) {
        return rows.token(r);
    }

    @Override
    public float logprob(int r) {
        return rows.logprob(r);
    }

    @Override
    public int rank(int r) {
        return rows.rank(r);
    }

    @Override
    public int numTop(int r) {
        return numTop[r];
    }

    @Override
    public int topId(int r, int k) {
        return rows.topId(r, k);
    }

    @Override
    public float topLogprob(int r, int k) {
        return rows.topLogprob(r, k);
    }
}

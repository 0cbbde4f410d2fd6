package io.millrace.engine;

/**
 * What a {@link FakeEngine} answers. Log-probabilities go by rule, so that tests can predict them: the alternative of rank {@code k} is
 * {@code (best + k - 1) % vocabSize} with log-probability {@code -0.5 * k}. The sampled token is the best; a scored prompt token has the
 * rank 1 + (id % 3).
 */
final class FakeResult implements StepResult {
    private final int vocabSize;
    private final int[] sampledRow;
    private final int[] firstScoredRow;
    private final int[] numScoredRows;
    private final int[] rowToken;
    private final int[] rowRank;
    private final int[] rowTop;
    private int numRows;
    private int numEntries;

    FakeResult(EngineLimits limits) {
        vocabSize = limits.vocabSize();
        sampledRow = new int[limits.maxNumSeqs()];
        firstScoredRow = new int[limits.maxNumSeqs()];
        numScoredRows = new int[limits.maxNumSeqs()];
        rowToken = new int[limits.maxLogitRows()];
        rowRank = new int[limits.maxLogitRows()];
        rowTop = new int[limits.maxLogitRows()];
    }

    void clear() {
        numRows = 0;
        numEntries = 0;
    }

    void add(StepPlan plan, int i, int token) {
        Sequence sequence = plan.sequence(i);
        int scored = plan.numLogitRows(i) - (token >= 0 ? 1 : 0);
        firstScoredRow[numEntries] = numRows;
        numScoredRows[numEntries] = scored;
        for (int k = 0; k < scored; k++) {
            int id = sequence.tokenId(plan.firstPosition(i) + 1 + k);
            addRow(id, 1 + id % 3, sequence.sampling().numPromptLogprobs());
        }
        sampledRow[numEntries++] = token < 0 ? -1 : numRows;
        if (token >= 0) {
            addRow(token, 1, sequence.sampling().numLogprobs());
        }
    }

    private void addRow(int token, int rank, int top) {
        rowToken[numRows] = token;
        rowRank[numRows] = rank;
        rowTop[numRows++] = Math.max(0, top);
    }

    @Override
    public int token(int i) {
        return sampledRow[i] < 0 ? -1 : rowToken[sampledRow[i]];
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
        return rowToken[r];
    }

    @Override
    public float logprob(int r) {
        return -0.5f * rowRank[r];
    }

    @Override
    public int rank(int r) {
        return rowRank[r];
    }

    @Override
    public int numTop(int r) {
        return rowTop[r];
    }

    @Override
    public int topId(int r, int k) {
        return Math.floorMod(rowToken[r] - rowRank[r] + 1 + k, vocabSize);
    }

    @Override
    public float topLogprob(int r, int k) {
        return -0.5f * (k + 1);
    }
}

package io.millrace.engine;

/**
 * Outputs of one step. Belongs to the engine and is overwritten by the next step. Rows are logit rows in plan order: first the
 * scored prompt rows of an entry (row k scores prompt token {@code firstPosition + 1 + k}), then its sampled row.
 */
public interface StepResult {
    /** The token sampled for plan entry {@code i}; -1 if the entry did not sample. */
    int token(int i);

    /** The row of the sampled token of entry {@code i}; -1 if it did not sample. */
    int sampledRow(int i);

    /** First scored prompt row of entry {@code i}. */
    int firstScoredRow(int i);

    int numScoredRows(int i);

    /** Token id that row {@code r} is about. */
    int rowToken(int r);

    /** Natural log-probability of {@link #rowToken} under the model's raw distribution. */
    float logprob(int r);

    /** 1 for the most likely token. */
    int rank(int r);

    int numTop(int r);

    int topId(int r, int k);

    float topLogprob(int r, int k);
}

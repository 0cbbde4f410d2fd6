package io.millrace.engine;

/**
 * Outputs of a step without probabilities, entry {@code i} in row {@code i}: for engines that choose tokens by some other rule, such as a
 * simulation. A subclass says which.
 */
public abstract class UnscoredResult implements StepResult {
    @Override
    public int sampledRow(int i) {
        return token(i) < 0 ? -1 : i;
    }

    @Override
    public int firstScoredRow(int i) {
        return 0;
    }

    @Override
    public int numScoredRows(int i) {
        return 0;
    }

    @Override
    public int rowToken(int r) {
        return token(r);
    }

    @Override
    public float logprob(int r) {
        return 0;
    }

    @Override
    public int rank(int r) {
        return 1;
    }

    @Override
    public int numTop(int r) {
        return 0;
    }

    @Override
    public int topId(int r, int k) {
        throw new IndexOutOfBoundsException(k);
    }

    @Override
    public float topLogprob(int r, int k) {
        throw new IndexOutOfBoundsException(k);
    }
}

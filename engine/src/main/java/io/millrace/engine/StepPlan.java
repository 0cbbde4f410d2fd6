package io.millrace.engine;

/**
 * What one step computes: for each entry, the tokens {@code [firstPosition, firstPosition + numTokens)} of a sequence. Filled by the
 * scheduler, read by the engine, reused for every step (nothing is allocated). An entry that reaches the end of its sequence's
 * known tokens samples the next one; earlier chunks of a prompt do not.
 */
public final class StepPlan {
    private final Sequence[] sequences;
    private final int[] firstPosition;
    private final int[] numTokens;
    private final boolean[] scorePrompt;
    private final int[] source;
    private final boolean[] samples;
    private final int[] numLogitRows;
    private int size;
    private int totalTokens;
    private long stepId;

    public StepPlan(int maxSequences) {
        sequences = new Sequence[maxSequences];
        firstPosition = new int[maxSequences];
        numTokens = new int[maxSequences];
        scorePrompt = new boolean[maxSequences];
        source = new int[maxSequences];
        samples = new boolean[maxSequences];
        numLogitRows = new int[maxSequences];
    }

    public void clear(long newStepId) {
        java.util.Arrays.fill(sequences, 0, size, null);
        size = 0;
        totalTokens = 0;
        stepId = newStepId;
    }

    /** @param score report log-probabilities of the prompt tokens that follow the tokens of this chunk */
    public void add(Sequence sequence, int first, int count, boolean score) {
        add(sequence, first, count, score, -1);
    }

    /**
     * @param sourceEntry the entry of the plan submitted before this one, whose drawn token is the one token of this entry; -1 = all
     *                    tokens are known
     */
    public void add(Sequence sequence, int first, int count, boolean score, int sourceEntry) {
        if (sourceEntry >= 0 && (count != 1 || first != sequence.numTokens())) {
            throw new IllegalArgumentException("STEP-003: sequence " + sequence.id() + ": " + count + " tokens from " + first
                    + " cannot be the one that a step under way draws; " + sequence.numTokens() + " are known");
        }
        sequences[size] = sequence;
        firstPosition[size] = first;
        numTokens[size] = count;
        scorePrompt[size] = score;
        source[size] = sourceEntry;
        samples[size] = first + count == sequence.numTokens() + (sourceEntry < 0 ? 0 : 1);
        int rows = samples[size] ? 1 : 0;
        if (score) {
            int lastScored = Math.min(first + count, sequence.numPromptTokens() - 1);
            rows += Math.max(0, lastScored - first);
        }
        numLogitRows[size] = rows;
        size++;
        totalTokens += count;
    }

    public long stepId() {
        return stepId;
    }

    public int size() {
        return size;
    }

    public boolean isEmpty() {
        return size == 0;
    }

    public int totalTokens() {
        return totalTokens;
    }

    public Sequence sequence(int i) {
        return sequences[i];
    }

    public int firstPosition(int i) {
        return firstPosition[i];
    }

    public int numTokens(int i) {
        return numTokens[i];
    }

    public boolean scorePrompt(int i) {
        return scorePrompt[i];
    }

    /** The entry of the plan submitted before whose drawn token is the only token of entry {@code i}; -1 if its tokens are known. */
    public int source(int i) {
        return source[i];
    }

    /** Whether entry {@code i} ended at its sequence's last token when it was added, so that the next one is drawn. */
    public boolean samples(int i) {
        return samples[i];
    }

    /**
     * Logit rows that entry {@code i} takes: with prompt scoring one per token that has a known successor in the prompt, and one for
     * the sampled token.
     */
    public int numLogitRows(int i) {
        return numLogitRows[i];
    }

    @Override
    public String toString() {
        int prompts = 0;
        int longest = 0;
        for (int i = 0; i < size; i++) {
            prompts += numTokens[i] > 1 ? 1 : 0;
            longest = Math.max(longest, firstPosition[i] + numTokens[i]);
        }
        return size + " sequences (" + prompts + " with more than one token), " + totalTokens + " tokens, longest context " + longest;
    }
}

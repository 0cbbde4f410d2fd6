package io.millrace.kernels;

/**
 * What sets the number of rows an operation works on. A program is recorded once; the row counts of a step are read from the
 * {@link Batch} when it runs.
 */
public enum Extent {
    /** The tensor's own row count, the same in every step. */
    FIXED,
    /** {@link Batch#numTokens()} rows: one per token of the ragged batch. */
    TOKENS,
    /** {@link Batch#numLogitRows()} rows: one per token whose logits are wanted. */
    LOGIT_ROWS
}

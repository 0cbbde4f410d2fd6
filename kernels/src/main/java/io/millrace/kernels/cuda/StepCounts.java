package io.millrace.kernels.cuda;

import io.millrace.kernels.Batch;
import io.millrace.kernels.Extent;
import java.lang.foreign.ValueLayout;

/** What the grids of a step's launches follow from; bounds, where a graph serves several steps. */
final class StepCounts {
    private static final ValueLayout.OfInt I32 = ValueLayout.JAVA_INT;

    int tokens;
    int sequences;
    int logitRows;
    /** Sequences with one token, which decode attention serves. */
    int singles;
    /** Sequences with several, and their tokens. */
    int chunks;
    int chunkTokens;

    void of(Batch batch) {
        tokens = batch.numTokens();
        sequences = batch.numSequences();
        logitRows = batch.numLogitRows();
        singles = 0;
        for (int s = 0; s < sequences; s++) {
            singles += batch.queryStart.getAtIndex(I32, s + 1) - batch.queryStart.getAtIndex(I32, s) == 1 ? 1 : 0;
        }
        chunks = sequences - singles;
        chunkTokens = tokens - singles;
    }

    /** Steps of up to {@code rows} sequences with one token each. */
    void decode(int rows, int maxLogitRows) {
        tokens = rows;
        sequences = rows;
        logitRows = Math.min(rows, maxLogitRows);
        singles = rows;
        chunks = 0;
        chunkTokens = 0;
    }

    int rows(Extent extent) {
        return extent == Extent.LOGIT_ROWS ? logitRows : tokens;
    }
}

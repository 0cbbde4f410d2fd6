package io.millrace.kernels;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.lang.foreign.ValueLayout;
import java.util.stream.Stream;

/**
 * One step's ragged batch, at fixed native addresses. Tokens are flat {@code [0, numTokens)}; sequence {@code i} owns the tokens
 * {@code [queryStart[i], queryStart[i + 1])}, at consecutive positions, and has {@code contextLen[i]} tokens in the KV cache after
 * the step. Its block table is row {@code i} of {@code blockTables}; entry {@code j} names the block of positions
 * {@code [j * blockSize, (j + 1) * blockSize)}.
 *
 * <pre>
 *   tokens      | s0: t0 t1 t2 | s1: t0 | s2: t0 t1 |        numTokens = 6
 *   queryStart    0              3        4          6       numSequences = 3
 *   logitRows     2 (last of s0), 3 (s1), 5 (last of s2)     numLogitRows = 3
 * </pre>
 *
 * <b>Reading what a step writes.</b> A sequence may attend to positions that another sequence of the batch fills in the same step, but not in a
 * batch in which every sequence has one token: there a backend may write a sequence's keys as late as when that sequence attends.
 *
 * <p><b>Two batches.</b> A backend has two, so that one can be filled and the other read while a step runs. A run may take tokens from the
 * outputs of the run before it, which was over the other batch ({@link #addDrawn}).
 *
 * <p>All arrays are int32. The capacities are set once; nothing is allocated per step.
 */
public final class Batch {
    private static final ValueLayout.OfInt I32 = ValueLayout.JAVA_INT;

    private final int maxTokens;
    private final int maxSequences;
    private final int maxBlocksPerSequence;
    private final int maxLogitRows;
    private final long bytes;
    /** int32 {@code [numTokens, numSequences, numLogitRows, reserved]}. */
    public final MemorySegment counts;
    public final MemorySegment tokenIds;
    /** Per token: the logit row of the run before that drew it, or -1 where {@link #tokenIds} has it. */
    public final MemorySegment tokenSource;
    public final MemorySegment positions;
    /** Which sequence each token belongs to. */
    public final MemorySegment tokenSequence;
    public final MemorySegment queryStart;
    public final MemorySegment contextLen;
    /** {@code [maxSequences, maxBlocksPerSequence]}. */
    public final MemorySegment blockTables;
    public final MemorySegment logitRows;
    public final SamplingRows sampling;

    /**
     * @param limits capacities
     * @param arena  owns the memory; the batch is dead when it closes. Asked for the arrays in the order of the fields, outputs last
     */
    public Batch(BatchLimits limits, SegmentAllocator arena) {
        this.maxTokens = limits.maxTokens();
        this.maxSequences = limits.maxSequences();
        this.maxBlocksPerSequence = limits.maxBlocksPerSequence();
        this.maxLogitRows = limits.maxLogitRows();
        counts = arena.allocate(64, 64);
        tokenIds = arena.allocate(4L * maxTokens, 64);
        tokenSource = arena.allocate(4L * maxTokens, 64);
        positions = arena.allocate(4L * maxTokens, 64);
        tokenSequence = arena.allocate(4L * maxTokens, 64);
        queryStart = arena.allocate(4L * (maxSequences + 1), 64);
        contextLen = arena.allocate(4L * maxSequences, 64);
        blockTables = arena.allocate(4L * maxSequences * maxBlocksPerSequence, 64);
        logitRows = arena.allocate(4L * maxLogitRows, 64);
        sampling = new SamplingRows(arena, maxLogitRows, limits.maxTopLogprobs());
        bytes = Stream.of(counts, tokenIds, tokenSource, positions, tokenSequence, queryStart, contextLen, blockTables, logitRows)
                .mapToLong(MemorySegment::byteSize).sum() + sampling.byteSize();
    }

    public int maxTokens() {
        return maxTokens;
    }

    public int maxSequences() {
        return maxSequences;
    }

    public int maxBlocksPerSequence() {
        return maxBlocksPerSequence;
    }

    public int maxLogitRows() {
        return maxLogitRows;
    }

    public long byteSize() {
        return bytes;
    }

    public int numTokens() {
        return counts.getAtIndex(I32, 0);
    }

    public int numSequences() {
        return counts.getAtIndex(I32, 1);
    }

    public int numLogitRows() {
        return counts.getAtIndex(I32, 2);
    }

    /** Empties the batch. */
    public void clear() {
        counts.setAtIndex(I32, 0, 0);
        counts.setAtIndex(I32, 1, 0);
        counts.setAtIndex(I32, 2, 0);
        queryStart.setAtIndex(I32, 0, 0);
    }

    /**
     * Appends a sequence with {@code count} tokens {@code ids[firstPosition, firstPosition + count)} and its block table.
     *
     * @return index of its first token in the batch
     */
    public int addSequence(int[] ids, int firstPosition, int count, int[] blockIds, int numBlocks) {
        int t0 = beginSequence(firstPosition, count, blockIds, numBlocks);
        for (int i = 0; i < count; i++) {
            tokenIds.setAtIndex(I32, t0 + i, ids[firstPosition + i]);
            tokenSource.setAtIndex(I32, t0 + i, -1);
        }
        return t0;
    }

    /**
     * Appends a sequence with one token, at {@code position}, that only the run before this one knows: it is what that run drew for its
     * logit row {@code sourceRow}.
     *
     * @return index of the token in the batch
     */
    public int addDrawn(int sourceRow, int position, int[] blockIds, int numBlocks) {
        int t = beginSequence(position, 1, blockIds, numBlocks);
        tokenIds.setAtIndex(I32, t, -1);
        tokenSource.setAtIndex(I32, t, sourceRow);
        return t;
    }

    private int beginSequence(int firstPosition, int count, int[] blockIds, int numBlocks) {
        int s = numSequences();
        int t0 = numTokens();
        if (s == maxSequences || t0 + count > maxTokens || numBlocks > maxBlocksPerSequence) {
            throw new IllegalStateException("BE-003: batch is full: sequences " + s + "/" + maxSequences + ", tokens " + t0 + "+" + count + "/"
                    + maxTokens + ", blocks " + numBlocks + "/" + maxBlocksPerSequence + "; run smaller steps or make a larger batch");
        }
        for (int i = 0; i < count; i++) {
            positions.setAtIndex(I32, t0 + i, firstPosition + i);
            tokenSequence.setAtIndex(I32, t0 + i, s);
        }
        MemorySegment.copy(blockIds, 0, blockTables, I32, 4L * s * maxBlocksPerSequence, numBlocks);
        queryStart.setAtIndex(I32, s + 1, t0 + count);
        contextLen.setAtIndex(I32, s, firstPosition + count);
        counts.setAtIndex(I32, 0, t0 + count);
        counts.setAtIndex(I32, 1, s + 1);
        return t0;
    }

    /** Tokens of the longest sequence after the step. */
    public int maxContextLen() {
        int longest = 0;
        for (int s = 0; s < numSequences(); s++) {
            longest = Math.max(longest, contextLen.getAtIndex(I32, s));
        }
        return longest;
    }

    /** Asks for the logits of token {@code t}. Returns the logit row; set its {@link #sampling} entry next. */
    public int addLogitRow(int t) {
        int r = numLogitRows();
        if (r == maxLogitRows) {
            throw new IllegalStateException("BE-003: batch is full: logit rows " + r + "/" + maxLogitRows + "; run smaller steps or make a larger batch");
        }
        logitRows.setAtIndex(I32, r, t);
        counts.setAtIndex(I32, 2, r + 1);
        return r;
    }
}

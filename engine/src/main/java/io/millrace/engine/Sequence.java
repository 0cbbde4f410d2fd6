package io.millrace.engine;

import java.util.Arrays;

/**
 * One sequence as scheduler and engine share it: its tokens and its block table. Owned and changed by the scheduler, on the engine
 * thread only; the engine reads it during {@link Engine#execute}.
 *
 * <pre>
 *   tokenIds  | prompt [0, numPromptTokens) | output [numPromptTokens, numTokens) | free |
 *   KV cache  | computed [0, numComputedTokens) | to do [numComputedTokens, numTokens)   |
 * </pre>
 */
public final class Sequence {
    private final long id;
    private final SamplingParams sampling;
    private final int numPromptTokens;
    private int[] tokenIds;
    private int numTokens;
    private int numComputedTokens;
    private int[] blockIds;
    private int numBlocks;
    private Object engineState;
    private String failure;

    /** @param promptTokenIds copied; at least one id */
    public Sequence(long id, int[] promptTokenIds, SamplingParams sampling, int blockSize) {
        if (promptTokenIds.length == 0) {
            throw new IllegalArgumentException("a sequence needs at least one prompt token");
        }
        this.id = id;
        this.sampling = sampling;
        this.numPromptTokens = promptTokenIds.length;
        // Room for the usual answer at once; grows by doubling for long ones.
        int room = numPromptTokens + Math.min(sampling.maxTokens(), 256);
        this.tokenIds = Arrays.copyOf(promptTokenIds, room);
        this.numTokens = numPromptTokens;
        this.blockIds = new int[(room + blockSize - 1) / blockSize];
    }

    public long id() {
        return id;
    }

    public SamplingParams sampling() {
        return sampling;
    }

    public int numPromptTokens() {
        return numPromptTokens;
    }

    public int numTokens() {
        return numTokens;
    }

    public int numOutputTokens() {
        return numTokens - numPromptTokens;
    }

    /** Tokens whose keys and values are in the cache. */
    public int numComputedTokens() {
        return numComputedTokens;
    }

    public void setNumComputedTokens(int value) {
        numComputedTokens = value;
    }

    /** The live array; valid up to {@link #numTokens()}. */
    public int[] tokenIds() {
        return tokenIds;
    }

    public int tokenId(int position) {
        return tokenIds[position];
    }

    public int lastTokenId() {
        return tokenIds[numTokens - 1];
    }

    public void append(int tokenId) {
        if (numTokens == tokenIds.length) {
            tokenIds = Arrays.copyOf(tokenIds, 2 * numTokens);
        }
        tokenIds[numTokens++] = tokenId;
    }

    /** The live array; valid up to {@link #numBlocks()}. */
    public int[] blockIds() {
        return blockIds;
    }

    public int numBlocks() {
        return numBlocks;
    }

    public void appendBlock(int blockId) {
        if (numBlocks == blockIds.length) {
            blockIds = Arrays.copyOf(blockIds, Math.max(4, 2 * numBlocks));
        }
        blockIds[numBlocks++] = blockId;
    }

    /** Keeps the first {@code count} entries of the block table. */
    public void truncateBlocks(int count) {
        numBlocks = count;
    }

    /** Why it cannot go on, found by the engine; null if it can. What is drawn for it in that step means nothing. */
    public String failure() {
        return failure;
    }

    public void setFailure(String reason) {
        failure = reason;
    }

    /** What the engine keeps for this sequence between {@link Engine#begin} and {@link Engine#end}; nobody else touches it. */
    public Object engineState() {
        return engineState;
    }

    public void setEngineState(Object state) {
        engineState = state;
    }
}

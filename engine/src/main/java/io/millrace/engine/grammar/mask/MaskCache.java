package io.millrace.engine.grammar.mask;

import io.millrace.engine.grammar.machine.State;
import java.util.LinkedHashMap;

/** Masks by state, the ones longest unused forgotten beyond a number of bytes. Thread-safe. */
public final class MaskCache {
    private final ByteVocabulary vocabulary;
    private final MaskBuilder builder;
    private final long capacity;
    private final LinkedHashMap<State, long[]> masks = new LinkedHashMap<>(64, 0.75f, true);
    private long numBuilt;

    public MaskCache(ByteVocabulary vocabulary, long maxBytes) {
        this.vocabulary = vocabulary;
        this.builder = new MaskBuilder(vocabulary);
        this.capacity = Math.clamp(maxBytes / (8L * vocabulary.numWords() + 100), 4L, 1_000_000L);
    }

    public ByteVocabulary vocabulary() {
        return vocabulary;
    }

    /** Tokens that may follow {@code state}: bit id % 64 of word id / 64. Not to be changed. */
    public synchronized long[] get(State state) {
        long[] mask = masks.get(state);
        if (mask == null) {
            mask = builder.build(state);
            numBuilt++;
            masks.put(state, mask);
            if (masks.size() > capacity) {
                masks.pollFirstEntry();
            }
        }
        return mask;
    }

    /** Masks that were computed, for figures. */
    public synchronized long numBuilt() {
        return numBuilt;
    }
}

package io.millrace.engine.grammar.mask;

import io.millrace.engine.grammar.machine.Machine;
import io.millrace.engine.grammar.machine.State;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Set;
import java.util.WeakHashMap;

/**
 * Masks by state, the ones longest unused forgotten beyond a number of bytes. A state holds its whole machine, so a machine that is let go
 * takes its masks along ({@link #release}). Thread-safe.
 */
public final class MaskCache {
    private final ByteVocabulary vocabulary;
    private final MaskBuilder builder;
    private final long capacity;
    private final LinkedHashMap<State, long[]> masks = new LinkedHashMap<>(64, 0.75f, true);
    private final Set<Machine> known = Collections.newSetFromMap(new WeakHashMap<>());
    private long numBuilt;

    public MaskCache(ByteVocabulary vocabulary, long maxBytes) {
        this.vocabulary = vocabulary;
        this.builder = new MaskBuilder(vocabulary);
        this.capacity = Math.clamp(maxBytes / (8L * vocabulary.numWords() + 4000), 4L, 100_000L);
    }

    public ByteVocabulary vocabulary() {
        return vocabulary;
    }

    /** Tokens that may follow {@code state}: bit id % 64 of word id / 64. Not to be changed. */
    public synchronized long[] get(Machine machine, State state) {
        long[] mask = masks.get(state);
        if (mask == null) {
            mask = builder.build(state);
            numBuilt++;
            if (!known.contains(machine)) {
                return mask;
            }
            masks.put(state, mask);
            if (masks.size() > capacity) {
                masks.pollFirstEntry();
            }
        }
        return mask;
    }

    /** From now on masks of {@code machine} are kept. */
    public synchronized void keep(Machine machine) {
        known.add(machine);
    }

    /** Forgets all masks of {@code machine} and keeps none that texts on their way still ask for. */
    public synchronized void release(Machine machine) {
        known.remove(machine);
        masks.keySet().removeIf(state -> state.isOf(machine));
    }

    /** Masks that were computed, for figures. */
    public synchronized long numBuilt() {
        return numBuilt;
    }
}

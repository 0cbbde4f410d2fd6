package io.millrace.engine.grammar;

import io.millrace.engine.grammar.machine.Machine;
import io.millrace.engine.grammar.machine.State;
import io.millrace.engine.grammar.machine.TableBudget;
import io.millrace.engine.grammar.mask.ByteVocabulary;
import io.millrace.engine.grammar.mask.MaskCache;
import java.util.LinkedHashMap;

/**
 * A compiled constraint for one vocabulary, shared by all sequences that use it; what one of them learns, all know. Thread-safe. See
 * {@link ConstraintCompiler} for how to get one and {@link ConstraintCursor} for how to follow one.
 */
public final class Constraint {
    private static final int MAX_LAST = 16;
    private final Machine machine;
    private final TableBudget budget;
    private final long fixedBytes;
    private volatile boolean released;
    /** Of the last states of a constraint that was released, whose masks nobody else keeps. Guarded by itself. */
    private final LinkedHashMap<State, long[]> last = new LinkedHashMap<>(16, 0.75f, true);
    private final MaskCache masks;

    /** @param fixedBytes from above, of what was compiled */
    Constraint(Machine machine, TableBudget budget, MaskCache masks, long fixedBytes) {
        this.fixedBytes = fixedBytes;
        masks.keep(machine);
        this.budget = budget;
        this.machine = machine;
        this.masks = masks;
    }

    /** A new text, nothing of it written. */
    public ConstraintCursor begin() {
        return new ConstraintCursor(this, machine.start());
    }

    /** Whether new texts had better begin with a new one, whose tables are empty. */
    boolean isWornOut() {
        return budget.isHalfFull();
    }

    long[] mask(State state) {
        if (!released) {
            return masks.get(machine, state);
        }
        synchronized (last) {
            long[] mask = last.computeIfAbsent(state, s -> masks.get(machine, s));
            if (last.size() > MAX_LAST) {
                last.pollFirstEntry();
            }
            return mask;
        }
    }

    /** It is remembered no longer: what it holds goes with the last text that uses it. */
    void release() {
        released = true;
        masks.release(machine);
    }

    /** What it holds, masks aside, about and from above. */
    long bytes() {
        return fixedBytes + budget.taken() + machine.bytes();
    }

    ByteVocabulary vocabulary() {
        return masks.vocabulary();
    }
}

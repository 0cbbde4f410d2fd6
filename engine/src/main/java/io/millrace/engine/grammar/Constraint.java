package io.millrace.engine.grammar;

import io.millrace.engine.grammar.machine.Machine;
import io.millrace.engine.grammar.machine.State;
import io.millrace.engine.grammar.mask.ByteVocabulary;
import io.millrace.engine.grammar.mask.MaskCache;

/**
 * A compiled constraint for one vocabulary, shared by all sequences that use it; what one of them learns, all know. Thread-safe. See
 * {@link ConstraintCompiler} for how to get one and {@link ConstraintCursor} for how to follow one.
 */
public final class Constraint {
    private final Machine machine;
    private final MaskCache masks;

    Constraint(Machine machine, MaskCache masks) {
        this.machine = machine;
        this.masks = masks;
    }

    /** A new text, nothing of it written. */
    public ConstraintCursor begin() {
        return new ConstraintCursor(this, machine.start());
    }

    long[] mask(State state) {
        return masks.get(state);
    }

    ByteVocabulary vocabulary() {
        return masks.vocabulary();
    }
}

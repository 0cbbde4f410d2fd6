package io.millrace.engine.grammar.machine;

/** A stack of parts, the innermost on top, shared between all stacks that have it below. One object per content in a {@link Machine}. */
final class Frame {
    final Part part;
    final long state;
    /** Null at the bottom. */
    final Frame parent;
    /** Order of creation; sorts the stacks of a {@link State}. */
    final long id;

    Frame(Part part, long state, Frame parent, long id) {
        this.part = part;
        this.state = state;
        this.parent = parent;
        this.id = id;
    }
}

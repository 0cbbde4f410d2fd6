package io.millrace.engine.grammar.machine;

import java.util.List;

/** A piece that is any one of several others and nothing of its own. */
public abstract class AlternativesPart extends Part {
    /** The others, always the same. */
    protected abstract List<Part> options();

    @Override
    public long start() {
        return 0;
    }

    @Override
    public long step(long state, int b) {
        return DEAD;
    }

    @Override
    public boolean accepts(long state) {
        return false;
    }

    @Override
    public boolean continues(long state) {
        return false;
    }

    @Override
    public int numCalls(long state) {
        return options().size();
    }

    @Override
    public Part callee(long state, int k) {
        return options().get(k);
    }

    @Override
    public long waiting(long state, int k) {
        return 1;
    }

    @Override
    public boolean endsWithCall(long waiting) {
        return true;
    }
}

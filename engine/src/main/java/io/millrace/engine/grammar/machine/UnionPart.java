package io.millrace.engine.grammar.machine;

import java.util.List;

/** Any one of several pieces. The list may be filled in later, so that pieces can contain each other. */
public final class UnionPart extends Part {
    private List<Part> options = List.of();

    public void setOptions(List<Part> parts) {
        options = List.copyOf(parts);
    }

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
        return options.size();
    }

    @Override
    public Part callee(long state, int k) {
        return options.get(k);
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

package io.millrace.engine.grammar.machine;

import java.util.List;

/** Any one of several pieces. The list may be filled in later, so that pieces can contain each other. */
public final class UnionPart extends AlternativesPart {
    private List<Part> options = List.of();

    public void setOptions(List<Part> parts) {
        options = List.copyOf(parts);
    }

    @Override
    protected List<Part> options() {
        return options;
    }
}

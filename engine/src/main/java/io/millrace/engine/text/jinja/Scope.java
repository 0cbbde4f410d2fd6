package io.millrace.engine.text.jinja;

import java.util.HashMap;
import java.util.Map;

/** Variables by name, looked up outwards, assigned innermost: loops, macros and blocks open a scope, {@code if} does not. */
final class Scope {
    private final Scope parent;
    private final Map<String, Object> variables = new HashMap<>();

    Scope(Scope parent) {
        this.parent = parent;
    }

    void set(String name, Object value) {
        variables.put(name, value);
    }

    /** {@link Args#MISSING} where no scope has it. */
    Object get(String name) {
        for (Scope scope = this; scope != null; scope = scope.parent) {
            Object value = scope.variables.getOrDefault(name, Args.MISSING);
            if (value != Args.MISSING) {
                return value;
            }
        }
        return Args.MISSING;
    }
}

package io.millrace.engine.grammar.json;

import java.util.List;

/** Arrays of a schema: all demands at once. */
record ArrayRule(int min, int max, List<Items> items) {
    static final ArrayRule ANY = new ArrayRule(0, Integer.MAX_VALUE, List.of());

    /** @param rest of items after the prefix; null = anything */
    record Items(List<SchemaNode> prefix, SchemaNode rest) {
        /** Null = anything. */
        SchemaNode at(int index) {
            return index < prefix.size() ? prefix.get(index) : rest;
        }
    }

    ArrayRule and(ArrayRule other) {
        return new ArrayRule(Math.max(min, other.min), Math.min(max, other.max), ObjectRule.join(items, other.items));
    }
}

package io.millrace.engine.grammar.json;

import io.millrace.engine.grammar.automaton.Fuel;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Objects of a schema: all demands at once.
 *
 * @param keys       one per schema that says something of keys and values
 * @param dependents keys that must be there if another is
 * @param names      schemas of the keys themselves
 */
record ObjectRule(int min, int max, Set<String> required, Map<String, Set<String>> dependents, List<Keys> keys, List<SchemaNode> names,
        String pointer) {
    static final ObjectRule ANY = new ObjectRule(0, Integer.MAX_VALUE, Set.of(), Map.of(), List.of(), List.of(), "");

    /** @param additional of keys that neither are named nor match a pattern; null = anything */
    record Keys(Map<String, SchemaNode> named, List<Pattern> patterns, SchemaNode additional) {}

    record Pattern(StringRule.Pattern regex, SchemaNode schema) {}

    ObjectRule and(ObjectRule other) {
        Set<String> bothRequired = new LinkedHashSet<>(required);
        bothRequired.addAll(other.required);
        Map<String, Set<String>> bothDependents = new LinkedHashMap<>(dependents);
        other.dependents.forEach((key, more) -> bothDependents.merge(key, more, (a, b) -> {
            Set<String> all = new LinkedHashSet<>(a);
            all.addAll(b);
            return all;
        }));
        return new ObjectRule(Math.max(min, other.min), Math.min(max, other.max), bothRequired, bothDependents, join(keys, other.keys),
                join(names, other.names), pointer.isEmpty() ? other.pointer : pointer);
    }

    static <T> List<T> join(List<T> a, List<T> b) {
        Fuel.spend((long) a.size() * b.size());
        List<T> all = new ArrayList<>(a);
        b.stream().filter(item -> !all.contains(item)).forEach(all::add);
        return all;
    }
}

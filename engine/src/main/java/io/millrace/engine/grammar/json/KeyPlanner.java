package io.millrace.engine.grammar.json;

import io.millrace.engine.grammar.GrammarException;
import io.millrace.engine.grammar.automaton.CharDfa;
import io.millrace.engine.grammar.automaton.CharMachine;
import io.millrace.engine.grammar.automaton.CharSet;
import io.millrace.engine.grammar.automaton.Fuel;
import io.millrace.engine.grammar.automaton.Partition;
import io.millrace.engine.grammar.automaton.TextTrie;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The keys of an {@link ObjectRule} in classes. One automaton walks the names, every pattern and the demands on names side by side, so a key
 * is known for what it is at its closing quote.
 */
final class KeyPlanner {
    private static final int DEAD = CharMachine.DEAD;
    /** The key is none of the names, whatever follows. */
    private static final int NO_NAME = -1;

    /** @param schemas by class; null = no such key */
    record Keys(List<String> names, KeyClasses classes, List<Set<SchemaNode>> schemas) {}

    private final ObjectRule rule;
    private final CharSet alphabet;
    /** Keys that nobody speaks of are not allowed. */
    private final boolean closed;
    private final List<String> names;
    private final TextTrie trie = new TextTrie();
    private final List<CharDfa> patterns = new ArrayList<>();
    private final List<CharMachine> demands;

    /**
     * @param closed  whether keys that no schema speaks of are left out where some are named
     * @param demands one automaton per schema of names, all to be met
     */
    KeyPlanner(ObjectRule rule, Strings strings, CharSet alphabet, List<CharMachine> demands, boolean closed) {
        this.closed = closed && rule.keys().stream().anyMatch(keys -> !keys.named().isEmpty() || !keys.patterns().isEmpty());
        this.rule = rule;
        this.alphabet = alphabet;
        this.demands = demands;
        Set<String> all = new LinkedHashSet<>();
        for (ObjectRule.Keys keys : rule.keys()) {
            all.addAll(keys.named().keySet());
            for (ObjectRule.Pattern pattern : keys.patterns()) {
                patterns.add(strings.pattern(pattern.regex()));
            }
        }
        all.addAll(rule.required());
        rule.dependents().forEach((key, more) -> {
            all.add(key);
            all.addAll(more);
        });
        names = List.copyOf(all);
        for (int i = 0; i < names.size(); i++) {
            trie.add(names.get(i), i);
        }
    }

    Keys plan() {
        List<CharSet> sets = new ArrayList<>(List.of(alphabet));
        names.stream().flatMapToInt(String::codePoints).distinct().forEach(c -> sets.add(CharSet.of(c)));
        patterns.forEach(dfa -> sets.addAll(dfa.partition().sets()));
        for (CharMachine demand : demands) {
            if (demand instanceof CharDfa dfa) {
                sets.addAll(dfa.partition().sets());
            }
        }
        CharDfa.Explored<List<Integer>> explored;
        try {
            explored = CharDfa.explore(Partition.of(sets), new Walk());
        } catch (GrammarException e) {
            throw e.at(rule.pointer());
        }
        return classify(explored);
    }

    private Keys classify(CharDfa.Explored<List<Integer>> explored) {
        Map<BitSet, Integer> others = new HashMap<>();
        List<Set<SchemaNode>> schemas = new ArrayList<>();
        int[] classes = new int[explored.states().size()];
        Map<String, Integer> numbers = new HashMap<>();
        for (String name : names) {
            numbers.put(name, numbers.size());
        }
        for (int i = 0; i < names.size(); i++) {
            schemas.add(null);
        }
        for (int s = 0; s < classes.length; s++) {
            if (!explored.dfa().accepts(s)) {
                continue;
            }
            List<Integer> state = explored.states().get(s);
            BitSet matched = matched(state);
            String name = name(state);
            if (name != null) {
                classes[s] = numbers.get(name);
                schemas.set(classes[s], schemas(name, matched));
            } else {
                Integer known = others.get(matched);
                if (known == null) {
                    known = schemas.size();
                    others.put(matched, known);
                    schemas.add(schemas(null, matched));
                }
                classes[s] = known;
            }
        }
        return new Keys(names, new KeyClasses(explored.dfa(), classes, names.size(), schemas.size()), schemas);
    }

    /** The name that the key is so far, or null. */
    private String name(List<Integer> state) {
        int text = state.getFirst() < 0 ? -1 : trie.text(state.getFirst());
        return text < 0 ? null : names.get(text);
    }

    private BitSet matched(List<Integer> state) {
        BitSet matched = new BitSet();
        for (int i = 0; i < patterns.size(); i++) {
            int at = state.get(1 + i);
            if (at != DEAD && patterns.get(i).accepts(at)) {
                matched.set(i);
            }
        }
        return matched;
    }

    /** What the value of a key has to meet; null if no value may. */
    private Set<SchemaNode> schemas(String name, BitSet matched) {
        Set<SchemaNode> all = new LinkedHashSet<>();
        int pattern = 0;
        for (ObjectRule.Keys keys : rule.keys()) {
            boolean found = false;
            SchemaNode own = name == null ? null : keys.named().get(name);
            if (own != null) {
                all.add(own);
                found = true;
            }
            for (ObjectRule.Pattern one : keys.patterns()) {
                if (matched.get(pattern++)) {
                    all.add(one.schema());
                    found = true;
                }
            }
            if (!found && keys.additional() != null) {
                all.add(keys.additional());
            }
        }
        for (SchemaNode node : all) {
            if (node.json().isBoolean() && !node.json().booleanValue()) {
                return null;
            }
        }
        return closed && name == null && all.isEmpty() ? null : all;
    }

    /** State: the prefix of names, then each pattern's, then each demand's. */
    private final class Walk implements CharDfa.Source<List<Integer>> {
        private final Map<List<Object>, Boolean> allowed = new HashMap<>();

        @Override
        public List<Integer> start() {
            List<Integer> start = new ArrayList<>();
            start.add(names.isEmpty() ? NO_NAME : 0);
            patterns.forEach(dfa -> start.add(dfa.isEmpty() ? DEAD : dfa.start()));
            for (CharMachine demand : demands) {
                if (demand instanceof CharDfa dfa && dfa.isEmpty()) {
                    return null;
                }
                start.add(demand.start());
            }
            return start;
        }

        @Override
        public List<Integer> step(List<Integer> state, int c) {
            if (!alphabet.contains(c)) {
                return null;
            }
            List<Integer> to = new ArrayList<>(state.size());
            Fuel.spend(2L + state.size());
            int name = state.getFirst();
            to.add(name < 0 ? NO_NAME : trie.child(name, c));
            for (int i = 0; i < patterns.size(); i++) {
                int at = state.get(1 + i);
                to.add(at == DEAD ? DEAD : patterns.get(i).step(at, c));
            }
            for (int i = 0; i < demands.size(); i++) {
                int at = demands.get(i).step(state.get(1 + patterns.size() + i), c);
                if (at == DEAD) {
                    return null;
                }
                to.add(at);
            }
            return to;
        }

        @Override
        public boolean accepts(List<Integer> state) {
            for (int i = 0; i < demands.size(); i++) {
                if (!demands.get(i).accepts(state.get(1 + patterns.size() + i))) {
                    return false;
                }
            }
            String name = name(state);
            BitSet matched = matched(state);
            return allowed.computeIfAbsent(java.util.Arrays.asList(name, matched), key -> schemas(name, matched) != null);
        }
    }
}

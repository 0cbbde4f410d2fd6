package io.millrace.engine.grammar.json;

import io.millrace.engine.grammar.GrammarException;
import io.millrace.engine.grammar.automaton.CharDfa;
import io.millrace.engine.grammar.automaton.CharMachine;
import io.millrace.engine.grammar.automaton.CharSet;
import io.millrace.engine.grammar.automaton.Counter;
import io.millrace.engine.grammar.automaton.Partition;
import io.millrace.engine.grammar.regex.Regexes;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Automata of strings' contents. One per compilation; remembers the patterns it has built. */
final class Strings {
    private final CharSet alphabet;
    private final Map<String, CharDfa> patterns = new HashMap<>();

    Strings(CharSet alphabet) {
        this.alphabet = alphabet;
    }

    static CharMachine any(CharSet alphabet) {
        return alphabet.equals(CharSet.ALL) ? Counter.ANY : over(alphabet, List.of(Counter.ANY));
    }

    private static CharDfa over(CharSet alphabet, List<? extends CharMachine> parts) {
        List<CharSet> sets = new ArrayList<>(List.of(alphabet));
        for (CharMachine part : parts) {
            if (part instanceof CharDfa dfa) {
                sets.addAll(dfa.partition().sets());
            }
        }
        List<CharMachine> all = new ArrayList<>(parts);
        if (!alphabet.equals(CharSet.ALL)) {
            all.add(Regexes.matching(".*", alphabet));
        }
        return CharDfa.intersection(all, Partition.of(sets));
    }

    /** @throws GrammarException placed at the pattern */
    CharDfa pattern(StringRule.Pattern pattern) {
        String key = (pattern.whole() ? "=" : "~") + pattern.regex();
        CharDfa known = patterns.get(key);
        if (known == null) {
            try {
                known = pattern.whole() ? Regexes.matching(pattern.regex(), alphabet) : Regexes.containing(pattern.regex(), alphabet);
            } catch (GrammarException e) {
                throw e.at(pattern.pointer());
            }
            patterns.put(key, known);
        }
        return known;
    }

    /** @return null if no text is in the rule */
    CharMachine content(StringRule rule) {
        if (rule.max() < rule.min()) {
            return null;
        }
        List<CharMachine> parts = new ArrayList<>();
        for (StringRule.Pattern pattern : rule.patterns()) {
            parts.add(pattern(pattern));
        }
        if (rule.texts() != null) {
            parts.add(CharDfa.ofTexts(rule.texts()));
        }
        boolean counted = rule.min() > 0 || rule.max() != Counter.UNLIMITED;
        if (parts.isEmpty() && alphabet.equals(CharSet.ALL)) {
            return counted ? new Counter(rule.min(), rule.max()) : Counter.ANY;
        }
        if (counted || parts.isEmpty()) {
            parts.add(new Counter(rule.min(), rule.max()));
        }
        try {
            CharDfa dfa = over(alphabet, parts);
            return dfa.isEmpty() ? null : dfa;
        } catch (GrammarException e) {
            throw rule.patterns().isEmpty() ? e : e.at(rule.patterns().getFirst().pointer());
        }
    }
}

package io.millrace.engine.grammar.ebnf;

import io.millrace.engine.grammar.GrammarException;
import io.millrace.engine.grammar.automaton.CharSet;
import io.millrace.engine.grammar.machine.Part;
import io.millrace.engine.grammar.machine.TableBudget;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Grammars to parts. The rule {@code root} is where texts begin. */
public final class EbnfCompiler {
    private EbnfCompiler() {}

    /** @throws GrammarException where the grammar is malformed, left-recursive, derives nothing or is too large */
    public static Part compile(String grammar, CharSet alphabet, TableBudget budget) {
        Map<String, Expression> rules = GrammarParser.parse(grammar);
        Map<String, Integer> numbers = new HashMap<>();
        rules.keySet().forEach(name -> numbers.put(name, numbers.size()));
        Integer root = numbers.get("root");
        if (root == null) {
            throw new GrammarException("the grammar has no rule `root`");
        }
        RuleNfa nfa = new RuleNfa(rules, numbers, alphabet);
        int recursive = nfa.leftRecursive();
        if (recursive >= 0) {
            throw new GrammarException("the rule `" + List.copyOf(rules.keySet()).get(recursive)
                    + "` is left-recursive: it begins with itself; write it as a repetition");
        }
        if (!nfa.trim(root)) {
            throw new GrammarException("the grammar derives no text");
        }
        RulePart[] parts = new RulePart[rules.size()];
        for (int i = 0; i < parts.length; i++) {
            parts[i] = new RulePart(nfa, i, parts, budget);
        }
        return parts[root];
    }
}

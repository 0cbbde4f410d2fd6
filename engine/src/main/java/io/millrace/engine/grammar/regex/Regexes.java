package io.millrace.engine.grammar.regex;

import io.millrace.engine.grammar.automaton.CharDfa;
import io.millrace.engine.grammar.automaton.CharNfa;
import io.millrace.engine.grammar.automaton.CharSet;

/** Regular expressions to automata; time is linear in the automaton's size, whose bounds {@link CharNfa} and {@link CharDfa} give; beyond them a {@link io.millrace.engine.grammar.GrammarException} is thrown. Thread-safe. */
public final class Regexes {
    private Regexes() {}

    /** The texts that match as a whole. */
    public static CharDfa matching(String regex, CharSet alphabet) {
        return build(regex, alphabet, false);
    }

    /** The texts in which the expression is found somewhere, as JSON Schema's {@code pattern} means it. */
    public static CharDfa containing(String regex, CharSet alphabet) {
        return build(regex, alphabet, true);
    }

    private static CharDfa build(String regex, CharSet alphabet, boolean anywhere) {
        Regex tree = RegexParser.parse(regex);
        CharNfa nfa = new CharNfa();
        int start = nfa.node();
        int end = nfa.node();
        int first = anywhere ? loop(nfa, start) : start;
        int last = add(nfa, tree, first);
        if (anywhere) {
            last = loop(nfa, last);
        }
        nfa.empty(last, end);
        return nfa.determinize(start, end, alphabet);
    }

    /** Any characters after {@code from}; @return the node after them, which has no edges. */
    private static int loop(CharNfa nfa, int from) {
        return repeatForever(nfa, new Regex.Chars(CharSet.ALL), from);
    }

    private static int repeatForever(CharNfa nfa, Regex body, int from) {
        int head = nfa.node();
        int inside = nfa.node();
        int after = nfa.node();
        nfa.empty(from, head);
        nfa.empty(head, inside);
        nfa.empty(head, after);
        nfa.empty(add(nfa, body, inside), head);
        return after;
    }

    /** @param from a node without edges; @return the node after, without edges */
    private static int add(CharNfa nfa, Regex regex, int from) {
        return switch (regex) {
            case Regex.Chars chars -> {
                int to = nfa.node();
                nfa.edge(from, chars.set(), to);
                yield to;
            }
            case Regex.Sequence sequence -> {
                int at = from;
                for (Regex part : sequence.parts()) {
                    at = add(nfa, part, at);
                }
                yield at;
            }
            case Regex.Either either -> {
                int after = nfa.node();
                int branch = from;
                for (int i = 0; i < either.options().size(); i++) {
                    int option = nfa.node();
                    nfa.empty(branch, option);
                    nfa.empty(add(nfa, either.options().get(i), option), after);
                    if (i + 1 < either.options().size()) {
                        int next = nfa.node();
                        nfa.empty(branch, next);
                        branch = next;
                    }
                }
                yield after;
            }
            case Regex.Repeat repeat -> {
                int at = from;
                for (int i = 0; i < repeat.min(); i++) {
                    at = add(nfa, repeat.body(), at);
                }
                if (repeat.max() < 0) {
                    yield repeatForever(nfa, repeat.body(), at);
                }
                int after = nfa.node();
                for (int i = repeat.min(); i < repeat.max(); i++) {
                    int inside = nfa.node();
                    nfa.empty(at, inside);
                    nfa.empty(at, after);
                    at = add(nfa, repeat.body(), inside);
                }
                nfa.empty(at, after);
                yield after;
            }
            case Regex.Anchor anchor -> {
                int to = nfa.node();
                nfa.anchor(from, anchor.where(), to);
                yield to;
            }
        };
    }
}

package io.millrace.engine.grammar.regex;

import io.millrace.engine.grammar.automaton.CharNfa;
import io.millrace.engine.grammar.automaton.CharSet;
import java.util.List;

/** The syntax tree of a regular expression. */
sealed interface Regex {
    record Chars(CharSet set) implements Regex {}

    record Sequence(List<Regex> parts) implements Regex {}

    record Either(List<Regex> options) implements Regex {}

    /** @param max -1 = any number */
    record Repeat(Regex body, int min, int max) implements Regex {}

    record Anchor(CharNfa.Where where) implements Regex {}
}

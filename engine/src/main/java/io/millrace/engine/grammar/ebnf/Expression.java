package io.millrace.engine.grammar.ebnf;

import io.millrace.engine.grammar.automaton.CharSet;
import java.util.List;

/** The right side of a rule. */
sealed interface Expression {
    record Chars(CharSet set) implements Expression {}

    record Reference(String rule, int position) implements Expression {}

    record Sequence(List<Expression> parts) implements Expression {}

    record Either(List<Expression> options) implements Expression {}

    /** @param max -1 = any number */
    record Repeat(Expression body, int min, int max) implements Expression {}
}

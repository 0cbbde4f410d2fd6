package io.millrace.engine.grammar.json;

import io.millrace.engine.grammar.GrammarException;
import io.millrace.engine.grammar.automaton.Fuel;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BinaryOperator;

/** A schema as a disjunction: values are in it if they are in any of the shapes of their type. Immutable. */
record Shapes(boolean nothing, boolean yes, boolean no, List<NumberRange> numbers, List<StringRule> strings, List<ArrayRule> arrays,
        List<ObjectRule> objects) {
    /** Shapes of one type; more come from products of long alternatives. */
    private static final int MAX_SHAPES = 1000;
    static final Shapes NONE = new Shapes(false, false, false, List.of(), List.of(), List.of(), List.of());

    static Shapes any(NumberRange.Spelling spelling) {
        return new Shapes(true, true, true, List.of(NumberRange.any(false, spelling)), List.of(StringRule.ANY), List.of(ArrayRule.ANY),
                List.of(ObjectRule.ANY));
    }

    Shapes and(Shapes other) {
        return new Shapes(nothing && other.nothing, yes && other.yes, no && other.no,
                product(numbers, other.numbers, NumberRange::and).stream().filter(range -> !range.isClearlyEmpty()).toList(),
                product(strings, other.strings, StringRule::and), product(arrays, other.arrays, ArrayRule::and),
                product(objects, other.objects, ObjectRule::and));
    }

    private static <T> List<T> product(List<T> a, List<T> b, BinaryOperator<T> and) {
        if ((long) a.size() * b.size() > MAX_SHAPES) {
            throw tooMany();
        }
        Fuel.spend(50L * a.size() * b.size());
        List<T> all = new ArrayList<>();
        for (T left : a) {
            for (T right : b) {
                all.add(and.apply(left, right));
            }
        }
        return all;
    }

    Shapes or(Shapes other) {
        return new Shapes(nothing || other.nothing, yes || other.yes, no || other.no, sum(numbers, other.numbers), sum(strings, other.strings),
                sum(arrays, other.arrays), sum(objects, other.objects));
    }

    private static <T> List<T> sum(List<T> a, List<T> b) {
        if (a.isEmpty() || b.isEmpty()) {
            return a.isEmpty() ? b : a;
        }
        Fuel.spend(4L * a.size() * b.size());
        List<T> all = ObjectRule.join(a, b);
        if (all.size() > MAX_SHAPES) {
            throw tooMany();
        }
        return all;
    }

    private static GrammarException tooMany() {
        return new GrammarException("combines to more than " + MAX_SHAPES + " alternatives");
    }
}

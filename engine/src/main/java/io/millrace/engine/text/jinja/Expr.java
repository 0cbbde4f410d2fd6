package io.millrace.engine.text.jinja;

import java.util.List;

/** Expressions. Immutable, shared by renderings. */
sealed interface Expr {
    record Literal(Object value) implements Expr {}

    record Name(String name) implements Expr {}

    record TupleLiteral(List<Expr> items) implements Expr {}

    record ListLiteral(List<Expr> items) implements Expr {}

    /** {@code keys} and {@code values} are parallel. */
    record DictLiteral(List<Expr> keys, List<Expr> values) implements Expr {}

    /** {@code target.name}: attributes before items. */
    record Attribute(Expr target, String name) implements Expr {}

    /** {@code target[index]}: items before attributes. */
    record Item(Expr target, Expr index) implements Expr {}

    /** The three parts may be null. */
    record Slice(Expr begin, Expr end, Expr step) implements Expr {}

    record Call(Expr target, Arguments arguments) implements Expr {}

    record Filter(Expr target, String name, Arguments arguments) implements Expr {}

    record Test(Expr target, String name, Arguments arguments, boolean negated) implements Expr {}

    record Unary(String operator, Expr operand) implements Expr {}

    /** Arithmetic. */
    record Binary(String operator, Expr left, Expr right) implements Expr {}

    record And(Expr left, Expr right) implements Expr {}

    record Or(Expr left, Expr right) implements Expr {}

    record Not(Expr operand) implements Expr {}

    /** {@code a < b <= c}: operators and the operands behind them are parallel. */
    record Compare(Expr first, List<String> operators, List<Expr> operands) implements Expr {}

    record Concat(List<Expr> parts) implements Expr {}

    /** {@code otherwise} is null where the template gives none: then the value is undefined. */
    record Conditional(Expr condition, Expr then, Expr otherwise) implements Expr {}

    /** Arguments of a call; {@code star} and {@code doubleStar} are {@code *args} and {@code **kwargs} or null. */
    record Arguments(List<Expr> positional, List<String> names, List<Expr> named, Expr star, Expr doubleStar) {
        static final Arguments NONE = new Arguments(List.of(), List.of(), List.of(), null, null);
    }
}

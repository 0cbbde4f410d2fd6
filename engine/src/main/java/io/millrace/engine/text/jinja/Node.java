package io.millrace.engine.text.jinja;

import java.util.List;

/** Statements. Immutable, shared by renderings. Lines are carried where a run-time error can begin. */
sealed interface Node {
    record Text(String text) implements Node {}

    record Print(Expr expression, int line) implements Node {}

    /** The first true condition's body runs; a null condition is {@code else}. */
    record If(List<Expr> conditions, List<List<Node>> bodies, int line) implements Node {}

    /** {@code filter} may be null, {@code otherwise} empty. */
    record For(Target target, Expr iterable, Expr filter, boolean recursive, List<Node> body, List<Node> otherwise, int line) implements Node {}

    record Set(Target target, Expr value, int line) implements Node {}

    /** {@code filters} is a chain of filters over a {@link Expr.Literal} placeholder, innermost last; empty for none. */
    record SetBlock(Target target, List<Expr.Filter> filters, List<Node> body, int line) implements Node {}

    record FilterBlock(List<Expr.Filter> filters, List<Node> body, int line) implements Node {}

    /** {@code usesVarargs} and {@code usesKwargs}: the body names them, so surplus arguments are welcome. */
    record Macro(String name, List<String> parameters, List<Expr> defaults, List<Node> body, boolean usesVarargs, boolean usesKwargs,
                 boolean usesCaller) implements Node {}

    record CallBlock(Expr.Call call, Macro caller, int line) implements Node {}

    record With(List<Target> targets, List<Expr> values, List<Node> body, int line) implements Node {}

    /** {@code {% generation %}} and other blocks that only group. */
    record Group(List<Node> body) implements Node {}

    record Break() implements Node {}

    record Continue() implements Node {}

    /** What can be assigned to. */
    sealed interface Target {}

    record NameTarget(String name) implements Target {}

    record AttributeTarget(String namespace, String attribute) implements Target {}

    record TupleTarget(List<Target> targets) implements Target {}
}

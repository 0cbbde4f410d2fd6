package io.millrace.engine.text.jinja;

import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/** What may stand behind {@code is}. */
final class Tests {
    private static final Set<String> NAMES = Set.of("defined", "undefined", "none", "true", "false", "boolean", "integer", "float", "number",
            "string", "mapping", "sequence", "iterable", "callable", "escaped", "filter", "test", "odd", "even", "divisibleby", "lower", "upper",
            "sameas", "in", "eq", "equalto", "==", "ne", "!=", "lt", "lessthan", "<", "le", "<=", "gt", "greaterthan", ">", "ge", ">=");

    private Tests() {}

    static boolean isKnown(String name) {
        return NAMES.contains(name);
    }

    static boolean apply(String name, Object value, Args args, Evaluator evaluator) {
        evaluator.budget.step();
        return switch (name) {
            case "defined" -> !(value instanceof Undefined);
            case "undefined" -> value instanceof Undefined;
            case "none" -> value == null;
            case "true" -> Boolean.TRUE.equals(value);
            case "false" -> Boolean.FALSE.equals(value);
            case "boolean" -> value instanceof Boolean;
            case "integer" -> Numbers.isInteger(value);
            case "float" -> value instanceof Double;
            case "number" -> Numbers.isNumber(value);
            case "string" -> Values.textOrNull(value) != null;
            case "mapping" -> value instanceof Map;
            case "sequence" -> value instanceof List || value instanceof Map || Values.textOrNull(value) != null || value instanceof Undefined;
            case "iterable" -> Values.isIterable(value);
            case "callable" -> value instanceof Callable || value instanceof Loop;
            case "escaped" -> value instanceof Markup;
            case "filter" -> Filters.isKnown(String.valueOf(Values.textOrNull(value)));
            case "test" -> isKnown(String.valueOf(Values.textOrNull(value)));
            case "odd" -> evaluator.holds("==", modulo(value, 2L), 1L);
            case "even" -> evaluator.holds("==", modulo(value, 2L), 0L);
            case "divisibleby" -> evaluator.holds("==", modulo(value, one(name, args)), 0L);
            case "lower" -> isCased(value, true, evaluator);
            case "upper" -> isCased(value, false, evaluator);
            case "sameas" -> isSame(value, one(name, args));
            case "in" -> Values.contains(one(name, args), value, evaluator.budget);
            case "eq", "equalto", "==" -> evaluator.holds("==", value, one(name, args));
            case "ne", "!=" -> evaluator.holds("!=", value, one(name, args));
            case "lt", "lessthan", "<" -> evaluator.holds("<", value, one(name, args));
            case "le", "<=" -> evaluator.holds("<=", value, one(name, args));
            case "gt", "greaterthan", ">" -> evaluator.holds(">", value, one(name, args));
            case "ge", ">=" -> evaluator.holds(">=", value, one(name, args));
            default -> throw JinjaException.type("No test named '" + name + "'.");
        };
    }

    private static Object one(String name, Args args) {
        return Args.required(args.bind(name, "other")[0], name, "other");
    }

    private static Object modulo(Object value, Object divisor) {
        if (!Numbers.isNumber(value) || !Numbers.isNumber(divisor)) {
            throw Values.undefinedOr(value, () -> JinjaException.type("unsupported operand type(s) for %: '" + Values.typeName(value) + "' and '"
                    + Values.typeName(divisor) + "'"));
        }
        return Numbers.arithmetic("%", value, divisor);
    }

    private static boolean isCased(Object value, boolean isLower, Evaluator evaluator) {
        String text = Printer.str(value, evaluator.budget);
        evaluator.budget.charge(text.length());
        boolean hasCase = !text.toLowerCase(Locale.ROOT).equals(text.toUpperCase(Locale.ROOT));
        return hasCase && text.equals(isLower ? text.toLowerCase(Locale.ROOT) : text.toUpperCase(Locale.ROOT));
    }

    /** Values without identity in Python's sense (small integers, interned strings) compare by value, containers by reference. */
    private static boolean isSame(Object a, Object b) {
        boolean isContainer = a instanceof List || a instanceof Map;
        return a == b || !isContainer && a != null && b != null && a.getClass() == b.getClass() && a.equals(b);
    }
}

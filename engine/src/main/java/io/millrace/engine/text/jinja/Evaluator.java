package io.millrace.engine.text.jinja;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Evaluates expressions for one rendering. */
final class Evaluator {
    final Budget budget;
    final Attributes attributes;

    Evaluator(Budget budget) {
        this.budget = budget;
        this.attributes = new Attributes(budget);
    }

    Object evaluate(Expr expression, Scope scope) {
        budget.enter();
        Object value = switch (expression) {
            case Expr.Literal literal -> literal.value();
            case Expr.Name name -> {
                Object found = scope.get(name.name());
                yield found == Args.MISSING ? Undefined.variable(name.name()) : found;
            }
            case Expr.TupleLiteral tuple -> new Tuple(all(tuple.items(), scope));
            case Expr.ListLiteral list -> all(list.items(), scope);
            case Expr.DictLiteral dict -> {
                Dict map = new Dict();
                for (int i = 0; i < dict.keys().size(); i++) {
                    map.put(evaluate(dict.keys().get(i), scope), evaluate(dict.values().get(i), scope));
                }
                yield map;
            }
            case Expr.Attribute attribute -> attributes.attribute(evaluate(attribute.target(), scope), attribute.name());
            case Expr.Item item when item.index() instanceof Expr.Slice slice -> attributes.slice(evaluate(item.target(), scope),
                    orNull(slice.begin(), scope), orNull(slice.end(), scope), orNull(slice.step(), scope));
            case Expr.Item item -> attributes.item(evaluate(item.target(), scope), evaluate(item.index(), scope));
            case Expr.Slice _ -> throw JinjaException.type("a slice inside a tuple is no index");
            case Expr.Call call -> call(evaluate(call.target(), scope), arguments(call.arguments(), scope));
            case Expr.Filter filter -> Filters.apply(filter.name(), evaluate(filter.target(), scope), arguments(filter.arguments(), scope), this);
            case Expr.Test test -> test.negated()
                    != Tests.apply(test.name(), evaluate(test.target(), scope), arguments(test.arguments(), scope), this);
            case Expr.Unary unary -> sign(unary.operator(), evaluate(unary.operand(), scope));
            case Expr.Binary binary -> binary(binary.operator(), evaluate(binary.left(), scope), evaluate(binary.right(), scope));
            case Expr.And and -> {
                Object left = evaluate(and.left(), scope);
                yield isTrue(left) ? evaluate(and.right(), scope) : left;
            }
            case Expr.Or or -> {
                Object left = evaluate(or.left(), scope);
                yield isTrue(left) ? left : evaluate(or.right(), scope);
            }
            case Expr.Not not -> !isTrue(evaluate(not.operand(), scope));
            case Expr.Compare compare -> compare(compare, scope);
            case Expr.Concat concat -> concat(concat, scope);
            case Expr.Conditional conditional -> {
                Expr chosen = isTrue(evaluate(conditional.condition(), scope)) ? conditional.then() : conditional.otherwise();
                yield chosen != null ? evaluate(chosen, scope) : new Undefined(JinjaException.Kind.UNDEFINED,
                        "the inline if-expression evaluated to false and no else section was defined.");
            }
        };
        budget.leave();
        return value;
    }

    static boolean isTrue(Object value) {
        return Values.isTrue(value);
    }

    private Object orNull(Expr expression, Scope scope) {
        return expression == null ? null : evaluate(expression, scope);
    }

    private List<Object> all(List<Expr> expressions, Scope scope) {
        List<Object> values = new ArrayList<>(expressions.size());
        for (Expr expression : expressions) {
            values.add(evaluate(expression, scope));
        }
        return values;
    }

    Args arguments(Expr.Arguments arguments, Scope scope) {
        if (arguments == Expr.Arguments.NONE) {
            return Args.NONE;
        }
        List<Object> positional = all(arguments.positional(), scope);
        Map<String, Object> named = new LinkedHashMap<>();
        for (int i = 0; i < arguments.names().size(); i++) {
            named.put(arguments.names().get(i), evaluate(arguments.named().get(i), scope));
        }
        if (arguments.star() != null) {
            positional.addAll(Values.iterate(evaluate(arguments.star(), scope)));
        }
        if (arguments.doubleStar() != null) {
            if (!(evaluate(arguments.doubleStar(), scope) instanceof Map<?, ?> map)) {
                throw JinjaException.type("argument after ** must be a mapping");
            }
            map.forEach((key, value) -> named.put(Args.string(key, "**"), value));
        }
        return new Args(positional, named);
    }

    Object call(Object target, Args args) {
        return switch (target) {
            case Callable callable -> {
                budget.enter();
                Object value = callable.call(args);
                budget.leave();
                yield value;
            }
            case Loop loop -> loop.recursion().call(args);
            case null, default -> throw Values.undefinedOr(target,
                    () -> JinjaException.type("'" + Values.typeName(target) + "' object is not callable"));
        };
    }

    private static Object sign(String operator, Object operand) {
        if (!Numbers.isNumber(operand)) {
            throw Values.undefinedOr(operand,
                    () -> JinjaException.type("bad operand type for unary " + operator + ": '" + Values.typeName(operand) + "'"));
        }
        if (operand instanceof Double number) {
            return operator.equals("-") ? -number : number;
        }
        return Numbers.arithmetic(operator, 0L, operand);
    }

    private Object binary(String operator, Object left, Object right) {
        if (left instanceof Long x && right instanceof Long y && (operator.equals("+") || operator.equals("-"))) {
            long result = operator.equals("+") ? x + y : x - y;
            long other = operator.equals("+") ? y : ~y;
            if (((x ^ result) & (other ^ result)) >= 0) {
                return result;
            }
        }
        if (Numbers.isNumber(left) && Numbers.isNumber(right)) {
            return Numbers.arithmetic(operator, left, right);
        }
        String text = Values.textOrNull(left);
        if (operator.equals("+") && text != null) {
            return plus(left, text, right);
        }
        if (operator.equals("+") && left instanceof List<?> x && right instanceof List<?> y && x instanceof Tuple == y instanceof Tuple) {
            budget.charge(((long) x.size() + y.size()) * 4);
            List<Object> joined = new ArrayList<>(x);
            joined.addAll(y);
            return x instanceof Tuple ? new Tuple(joined) : joined;
        }
        if (operator.equals("*") && Numbers.isInteger(right) && isSequence(left)) {
            return repeat(left, Numbers.toBig(right).longValue());
        }
        if (operator.equals("*") && Numbers.isInteger(left) && isSequence(right)) {
            return repeat(right, Numbers.toBig(left).longValue());
        }
        if (operator.equals("%") && text != null) {
            return Formatting.percent(text, right, budget);
        }
        throw Values.undefinedOr(left, () -> Values.undefinedOr(right, () -> JinjaException.type(
                "unsupported operand type(s) for " + operator + ": '" + Values.typeName(left) + "' and '" + Values.typeName(right) + "'")));
    }

    private Object plus(Object left, String text, Object right) {
        String other = Values.textOrNull(right);
        if (other == null) {
            throw Values.undefinedOr(right, () -> JinjaException.type("can only concatenate str (not \"" + Values.typeName(right) + "\") to str"));
        }
        if (left instanceof Markup != right instanceof Markup) {
            text = left instanceof Markup ? text : Markup.escape(text);
            other = right instanceof Markup ? other : Markup.escape(other);
        }
        budget.charge((long) text.length() + other.length());
        return left instanceof Markup || right instanceof Markup ? new Markup(text + other) : text + other;
    }

    private static boolean isSequence(Object value) {
        return value instanceof String || value instanceof List<?> && !(value instanceof Range);
    }

    private Object repeat(Object sequence, long count) {
        long times = Math.clamp(count, 0, 1L << 31);
        if (sequence instanceof String text) {
            budget.charge(text.length() * times);
            return text.repeat(text.isEmpty() ? 0 : (int) times);
        }
        List<?> list = (List<?>) sequence;
        budget.charge(list.size() * times * 4);
        List<Object> repeated = new ArrayList<>();
        for (long i = 0; i < times && !list.isEmpty(); i++) {
            repeated.addAll(list);
        }
        return list instanceof Tuple ? new Tuple(repeated) : repeated;
    }

    private boolean compare(Expr.Compare comparison, Scope scope) {
        Object left = evaluate(comparison.first(), scope);
        for (int i = 0; i < comparison.operators().size(); i++) {
            Object right = evaluate(comparison.operands().get(i), scope);
            if (!holds(comparison.operators().get(i), left, right)) {
                return false;
            }
            left = right;
        }
        return true;
    }

    boolean holds(String operator, Object left, Object right) {
        return switch (operator) {
            case "==" -> Values.equal(left, right, budget);
            case "!=" -> !Values.equal(left, right, budget);
            case "in" -> Values.contains(right, left, budget);
            case "not in" -> !Values.contains(right, left, budget);
            case "<" -> Values.compare(left, right, operator, budget) < 0;
            case "<=" -> Values.compare(left, right, operator, budget) <= 0;
            case ">" -> Values.compare(left, right, operator, budget) > 0;
            default -> Values.compare(left, right, operator, budget) >= 0;
        };
    }

    private String concat(Expr.Concat concat, Scope scope) {
        StringBuilder out = new StringBuilder();
        for (Expr part : concat.parts()) {
            String text = Printer.str(evaluate(part, scope), budget);
            budget.charge((long) out.length() + text.length());
            out.append(text);
        }
        return out.toString();
    }
}

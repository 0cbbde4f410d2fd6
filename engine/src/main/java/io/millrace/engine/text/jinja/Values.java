package io.millrace.engine.text.jinja;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;

/**
 * Python's rules over Java values. None is {@code null}; bool, int, float and str are {@link Boolean}, {@link Long} or {@link BigInteger},
 * {@link Double}, {@link String} or {@link Markup}; sequences are {@link List}, dictionaries {@link Map}; what does not exist is
 * {@link Undefined}.
 */
final class Values {
    private static final int MAX_INPUT_DEPTH = 200;

    private Values() {}

    /** A private copy of what the caller passed in, in the types of this class: a template may pop from a list. */
    static Object copyOf(Object value, int depth) {
        if (depth > MAX_INPUT_DEPTH) {
            throw JinjaException.limit("levels of nesting in the messages", MAX_INPUT_DEPTH);
        }
        return switch (value) {
            case null -> null;
            case String _, Boolean _, Long _, Double _, Undefined _, Callable _ -> value;
            case Integer _, Short _, Byte _ -> ((Number) value).longValue();
            case Float f -> (double) f;
            case BigInteger big -> Numbers.normalized(big);
            case java.math.BigDecimal big -> big.doubleValue();
            case CharSequence text -> text.toString();
            case Map<?, ?> map -> {
                Map<Object, Object> copy = LinkedHashMap.newLinkedHashMap(map.size());
                map.forEach((k, v) -> copy.put(String.valueOf(k), copyOf(v, depth + 1)));
                yield copy;
            }
            case Iterable<?> items -> {
                List<Object> copy = new ArrayList<>();
                items.forEach(item -> copy.add(copyOf(item, depth + 1)));
                yield copy;
            }
            default -> throw JinjaException.type("a variable has the unsupported Java type " + value.getClass().getName());
        };
    }

    static String typeName(Object value) {
        return switch (value) {
            case null -> "NoneType";
            case String _ -> "str";
            case Markup _ -> "Markup";
            case Boolean _ -> "bool";
            case Long _, BigInteger _ -> "int";
            case Double _ -> "float";
            case Tuple _ -> "tuple";
            case Range _ -> "range";
            case List<?> _ -> "list";
            case Map<?, ?> _ -> "dict";
            case Undefined _ -> "Undefined";
            case Namespace _ -> "Namespace";
            case Loop _ -> "LoopContext";
            case Macro _ -> "Macro";
            default -> "function";
        };
    }

    static JinjaException undefinedOr(Object value, Supplier<JinjaException> otherwise) {
        return value instanceof Undefined undefined ? undefined.exception() : otherwise.get();
    }

    static boolean isTrue(Object value) {
        return switch (value) {
            case null -> false;
            case Boolean b -> b;
            case Long number -> number != 0;
            case Double number -> number != 0;
            case String text -> !text.isEmpty();
            case Markup markup -> !markup.text().isEmpty();
            case List<?> list -> !list.isEmpty();
            case Map<?, ?> map -> !map.isEmpty();
            case Undefined _ -> false;
            default -> true;
        };
    }

    /** The characters of a string, or null for any other value. */
    static String textOrNull(Object value) {
        return value instanceof String text ? text : value instanceof Markup markup ? markup.text() : null;
    }

    /** What a for loop visits. Charged per element by the caller. */
    static List<?> iterate(Object value) {
        return switch (value) {
            case List<?> list -> list;
            case Map<?, ?> map -> new ArrayList<>(map.keySet());
            case Undefined undefined when undefined.kind() == JinjaException.Kind.UNDEFINED -> List.of();
            case Undefined undefined -> throw undefined.exception();
            case String text -> text.codePoints().mapToObj(Character::toString).toList();
            case Markup markup -> iterate(markup.text());
            case null, default -> throw JinjaException.type("'" + typeName(value) + "' object is not iterable");
        };
    }

    static boolean isIterable(Object value) {
        return value instanceof List || value instanceof Map || value instanceof String || value instanceof Markup || value instanceof Undefined;
    }

    static long length(Object value) {
        return switch (value) {
            case String text -> text.codePointCount(0, text.length());
            case Markup markup -> length(markup.text());
            case List<?> list -> list.size();
            case Map<?, ?> map -> map.size();
            case Undefined undefined when undefined.kind() == JinjaException.Kind.UNDEFINED -> 0;
            case Undefined undefined -> throw undefined.exception();
            case Loop loop -> loop.length();
            case null, default -> throw JinjaException.type("object of type '" + typeName(value) + "' has no len()");
        };
    }

    static boolean equal(Object a, Object b, Budget budget) {
        budget.step();
        if (a == b) {
            return true;
        }
        if (Numbers.isNumber(a) && Numbers.isNumber(b)) {
            return Numbers.compare(a, b) == 0;
        }
        String text = textOrNull(a);
        if (text != null) {
            budget.charge(text.length());
            return text.equals(textOrNull(b));
        }
        return switch (a) {
            case null -> false;
            case Undefined _ -> b instanceof Undefined;
            case List<?> x when b instanceof List<?> y -> x instanceof Tuple == y instanceof Tuple && equalItems(x, y, budget);
            case Map<?, ?> x when b instanceof Map<?, ?> y -> equalEntries(x, y, budget);
            default -> false;
        };
    }

    private static boolean equalItems(List<?> x, List<?> y, Budget budget) {
        if (x.size() != y.size()) {
            return false;
        }
        budget.enter();
        for (int i = 0; i < x.size(); i++) {
            if (!equal(x.get(i), y.get(i), budget)) {
                return false;
            }
        }
        budget.leave();
        return true;
    }

    private static boolean equalEntries(Map<?, ?> x, Map<?, ?> y, Budget budget) {
        if (x.size() != y.size()) {
            return false;
        }
        budget.enter();
        for (var entry : x.entrySet()) {
            if (!contains(y, entry.getKey(), budget) || !equal(entry.getValue(), y.get(entry.getKey()), budget)) {
                return false;
            }
        }
        budget.leave();
        return true;
    }

    /** Negative, zero or positive as {@code a} is less than, equal to or greater than {@code b}. */
    static int compare(Object a, Object b, String operator, Budget budget) {
        budget.step();
        if (Numbers.isNumber(a) && Numbers.isNumber(b)) {
            return Numbers.compare(a, b);
        }
        String x = textOrNull(a);
        String y = textOrNull(b);
        if (x != null && y != null) {
            budget.charge(Math.min(x.length(), y.length()));
            return compareByCodePoint(x, y);
        }
        if (a instanceof List<?> p && b instanceof List<?> q && p instanceof Tuple == q instanceof Tuple) {
            budget.enter();
            for (int i = 0; i < Math.min(p.size(), q.size()); i++) {
                if (!equal(p.get(i), q.get(i), budget)) {
                    int order = compare(p.get(i), q.get(i), operator, budget);
                    budget.leave();
                    return order;
                }
            }
            budget.leave();
            return Integer.compare(p.size(), q.size());
        }
        throw undefinedOr(a, () -> undefinedOr(b, () -> JinjaException.type(
                "'" + operator + "' not supported between instances of '" + typeName(a) + "' and '" + typeName(b) + "'")));
    }

    /** Java orders by UTF-16 unit, which puts U+FFxx behind the emoji. */
    private static int compareByCodePoint(String x, String y) {
        int mismatch = 0;
        int shorter = Math.min(x.length(), y.length());
        while (mismatch < shorter && x.charAt(mismatch) == y.charAt(mismatch)) {
            mismatch++;
        }
        if (mismatch == shorter) {
            return Integer.compare(x.length(), y.length());
        }
        char a = x.charAt(mismatch);
        char b = y.charAt(mismatch);
        boolean oneIsSurrogate = Character.isSurrogate(a) != Character.isSurrogate(b);
        return oneIsSurrogate ? Character.isSurrogate(a) ? 1 : -1 : Character.compare(a, b);
    }

    /** {@code needle in container}. */
    static boolean contains(Object container, Object needle, Budget budget) {
        String text = textOrNull(container);
        if (text != null) {
            String part = textOrNull(needle);
            if (part == null) {
                throw undefinedOr(needle, () -> JinjaException.type("'in <string>' requires string as left operand, not " + typeName(needle)));
            }
            return TextSearch.forward(part, budget).from(text, 0) >= 0;
        }
        return switch (container) {
            case Dict dict -> dict.containsKey(needle);
            case Map<?, ?> map -> {
                if (needle instanceof List<?> && !(needle instanceof Tuple) || needle instanceof Map<?, ?>) {
                    throw JinjaException.type("unhashable type: '" + typeName(needle) + "'");
                }
                yield map.containsKey(needle instanceof Markup markup ? markup.text() : needle);
            }
            case List<?> list -> {
                for (Object item : list) {
                    if (equal(item, needle, budget)) {
                        yield true;
                    }
                }
                yield false;
            }
            case Undefined undefined when undefined.kind() == JinjaException.Kind.UNDEFINED -> false;
            case null, default -> throw undefinedOr(container,
                    () -> JinjaException.type("argument of type '" + typeName(container) + "' is not iterable"));
        };
    }
}

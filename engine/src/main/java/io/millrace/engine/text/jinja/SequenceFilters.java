package io.millrace.engine.text.jinja;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;

/** The filters over lists and dictionaries. What Jinja2 returns as a generator is a list here. */
final class SequenceFilters {
    static final Set<String> NAMES = Set.of("batch", "count", "dictsort", "first", "groupby", "items", "join", "last", "length", "list", "map",
            "max", "min", "reject", "rejectattr", "reverse", "select", "selectattr", "slice", "sort", "sum", "unique");

    private final Evaluator evaluator;
    private final Budget budget;

    private SequenceFilters(Evaluator evaluator) {
        this.evaluator = evaluator;
        this.budget = evaluator.budget;
    }

    static Object apply(String name, Object value, Args args, Evaluator evaluator) {
        SequenceFilters filters = new SequenceFilters(evaluator);
        return switch (name) {
            case "length", "count" -> Values.length(value);
            case "first" -> filters.first(filters.items(value), name);
            case "last" -> filters.first(filters.items(value).reversed(), name);
            case "list" -> new ArrayList<Object>(filters.items(value));
            case "reverse" -> filters.reverse(value);
            case "items" -> filters.pairs(value);
            case "join" -> filters.join(value, args);
            case "sort" -> filters.sort(value, args);
            case "dictsort" -> filters.dictSort(value, args);
            case "unique" -> filters.unique(value, args);
            case "min" -> filters.extreme(value, args, name, -1);
            case "max" -> filters.extreme(value, args, name, 1);
            case "sum" -> filters.sum(value, args);
            case "map" -> filters.map(value, args);
            case "select" -> filters.select(value, args, false, true);
            case "reject" -> filters.select(value, args, false, false);
            case "selectattr" -> filters.select(value, args, true, true);
            case "rejectattr" -> filters.select(value, args, true, false);
            case "groupby" -> filters.groupBy(value, args);
            case "batch" -> filters.batch(value, args);
            case "slice" -> filters.slice(value, args);
            default -> throw JinjaException.type("No filter named '" + name + "'.");
        };
    }

    private List<?> items(Object value) {
        List<?> items = Values.iterate(value);
        budget.charge(items.size() * 4L);
        return items;
    }

    private Object first(List<?> items, String name) {
        return items.isEmpty() ? new Undefined(JinjaException.Kind.UNDEFINED, "No " + name + " item, sequence was empty.") : items.getFirst();
    }

    private Object reverse(Object value) {
        String text = Values.textOrNull(value);
        if (text == null) {
            return new ArrayList<Object>(items(value).reversed());
        }
        budget.charge(text.length());
        return new StringBuilder(text).reverse().toString();
    }

    private Object pairs(Object value) {
        if (value instanceof Undefined) {
            return new ArrayList<Object>();
        }
        if (!(value instanceof Map<?, ?> map)) {
            throw JinjaException.type("Can only get item pairs from a mapping.");
        }
        return evaluator.attributes.items(map);
    }

    private String join(Object value, Args args) {
        Object[] a = args.bind("join", "d", "attribute");
        Function<Object, Object> key = attributeOf(Args.orElse(a[1], null), Args.MISSING);
        List<String> parts = new ArrayList<>();
        for (Object item : items(value)) {
            parts.add(Printer.str(key.apply(item), budget));
        }
        return StringMethods.join(Printer.str(Args.orElse(a[0], ""), budget), parts, budget);
    }

    /** Reads {@code "a.b"}, {@code "0"} or an index from an item; the item itself for null. */
    private Function<Object, Object> attributeOf(Object attribute, Object fallback) {
        if (attribute == null) {
            return item -> item;
        }
        List<Object> path = new ArrayList<>();
        if (attribute instanceof Long) {
            path.add(attribute);
        } else {
            for (String part : Args.string(attribute, "attribute").split("\\.", -1)) {
                boolean isIndex = !part.isEmpty() && part.length() < 10 && part.chars().allMatch(c -> c >= '0' && c <= '9');
                path.add(isIndex ? (Object) Long.valueOf(part) : part);
            }
        }
        return item -> {
            Object value = item;
            for (Object part : path) {
                value = evaluator.attributes.item(value, part);
                if (value instanceof Undefined && fallback != Args.MISSING) {
                    value = fallback;
                }
            }
            return value;
        };
    }

    private Object foldedCase(Object value, boolean caseSensitive) {
        String text = caseSensitive ? null : Values.textOrNull(value);
        if (text == null) {
            return value;
        }
        budget.charge(text.length());
        return text.toLowerCase(Locale.ROOT);
    }

    private Comparator<Object> order(Function<Object, Object> key, boolean caseSensitive) {
        return (x, y) -> Values.compare(foldedCase(key.apply(x), caseSensitive), foldedCase(key.apply(y), caseSensitive), "<", budget);
    }

    private List<Object> sorted(List<?> items, Comparator<Object> order, boolean isReversed) {
        List<Object> sorted = new ArrayList<>(items);
        try {
            sorted.sort(isReversed ? order.reversed() : order);
        } catch (IllegalArgumentException e) {
            // NaN among the numbers: Python sorts somehow, Java notices.
            throw JinjaException.type("the values have no order");
        }
        return sorted;
    }

    private List<Object> sort(Object value, Args args) {
        Object[] a = args.bind("sort", "reverse", "case_sensitive", "attribute");
        Object attribute = Args.orElse(a[2], null);
        Comparator<Object> order = null;
        boolean caseSensitive = Values.isTrue(Args.orElse(a[1], false));
        // "a,b" sorts by a, then by b.
        List<?> attributes = attribute instanceof String text ? List.of(text.split(",", -1)) : java.util.Collections.singletonList(attribute);
        for (Object part : attributes) {
            Comparator<Object> next = order(attributeOf(part, Args.MISSING), caseSensitive);
            order = order == null ? next : order.thenComparing(next);
        }
        return sorted(items(value), order, Values.isTrue(Args.orElse(a[0], false)));
    }

    private List<Object> dictSort(Object value, Args args) {
        Object[] a = args.bind("dictsort", "case_sensitive", "by", "reverse");
        String by = a[1] == Args.MISSING ? "key" : Args.string(a[1], "dictsort");
        if (!by.equals("key") && !by.equals("value")) {
            throw JinjaException.type("You can only sort by either \"key\" or \"value\"");
        }
        if (!(value instanceof Map<?, ?> map)) {
            throw Values.undefinedOr(value, () -> JinjaException.type("dictsort() needs a mapping, not " + Values.typeName(value)));
        }
        int index = by.equals("key") ? 0 : 1;
        return sorted(evaluator.attributes.items(map), order(pair -> ((Tuple) pair).get(index), Values.isTrue(Args.orElse(a[0], false))),
                Values.isTrue(Args.orElse(a[2], false)));
    }

    private List<Object> unique(Object value, Args args) {
        Object[] a = args.bind("unique", "case_sensitive", "attribute");
        boolean caseSensitive = Values.isTrue(Args.orElse(a[0], false));
        Function<Object, Object> key = attributeOf(Args.orElse(a[1], null), Args.MISSING);
        Dict seen = new Dict();
        List<Object> unique = new ArrayList<>();
        for (Object item : items(value)) {
            Object itemKey = foldedCase(key.apply(item), caseSensitive);
            if (!seen.containsKey(itemKey)) {
                seen.put(itemKey, null);
                unique.add(item);
            }
        }
        return unique;
    }

    private Object extreme(Object value, Args args, String name, int sign) {
        Object[] a = args.bind(name, "case_sensitive", "attribute");
        Comparator<Object> order = order(attributeOf(Args.orElse(a[1], null), Args.MISSING), Values.isTrue(Args.orElse(a[0], false)));
        List<?> items = items(value);
        if (items.isEmpty()) {
            return new Undefined(JinjaException.Kind.UNDEFINED, "No aggregated item, sequence was empty.");
        }
        Object best = items.getFirst();
        for (Object item : items) {
            best = order.compare(item, best) * sign > 0 ? item : best;
        }
        return best;
    }

    private Object sum(Object value, Args args) {
        Object[] a = args.bind("sum", "attribute", "start");
        Function<Object, Object> key = attributeOf(Args.orElse(a[0], null), Args.MISSING);
        Object total = Args.orElse(a[1], 0L);
        for (Object item : items(value)) {
            Object summand = key.apply(item);
            if (!Numbers.isNumber(total) || !Numbers.isNumber(summand)) {
                Object left = total;
                throw Values.undefinedOr(summand, () -> JinjaException.type("unsupported operand type(s) for +: '" + Values.typeName(left)
                        + "' and '" + Values.typeName(summand) + "'"));
            }
            total = Numbers.arithmetic("+", total, summand);
        }
        return total;
    }

    private List<Object> map(Object value, Args args) {
        Function<Object, Object> function;
        if (args.positional().isEmpty() && args.named().containsKey("attribute")) {
            Object[] a = args.bind("map", "attribute", "default");
            function = attributeOf(a[0], a[1]);
        } else {
            String filter = nameArgument(args, "map", 0);
            Args rest = new Args(args.positional().subList(1, args.positional().size()), args.named());
            if (!Filters.isKnown(filter)) {
                throw JinjaException.type("No filter named '" + filter + "'.");
            }
            function = item -> Filters.apply(filter, item, rest, evaluator);
        }
        List<Object> mapped = new ArrayList<>();
        for (Object item : items(value)) {
            mapped.add(function.apply(item));
        }
        return mapped;
    }

    private static String nameArgument(Args args, String filter, int index) {
        if (args.positional().size() <= index) {
            throw JinjaException.type(filter + " requires a filter, test or attribute argument");
        }
        return Args.string(args.positional().get(index), filter);
    }

    private List<Object> select(Object value, Args args, boolean byAttribute, boolean keepsTrue) {
        int numFixed = byAttribute ? 1 : 0;
        if (byAttribute && args.positional().isEmpty()) {
            throw JinjaException.type("Missing parameter for attribute name");
        }
        Function<Object, Object> key = byAttribute ? attributeOf(args.positional().getFirst(), Args.MISSING) : item -> item;
        boolean hasTest = args.positional().size() > numFixed;
        String test = hasTest ? nameArgument(args, "select", numFixed) : null;
        if (hasTest && !Tests.isKnown(test)) {
            throw JinjaException.type("No test named '" + test + "'.");
        }
        Args rest = hasTest ? new Args(args.positional().subList(numFixed + 1, args.positional().size()), args.named()) : Args.NONE;
        List<Object> selected = new ArrayList<>();
        for (Object item : items(value)) {
            Object tested = key.apply(item);
            if (keepsTrue == (hasTest ? Tests.apply(test, tested, rest, evaluator) : Values.isTrue(tested))) {
                selected.add(item);
            }
        }
        return selected;
    }

    /** A list of (value, items) pairs, sorted by value. */
    private List<Object> groupBy(Object value, Args args) {
        Object[] a = args.bind("groupby", "attribute", "default", "case_sensitive");
        Function<Object, Object> key = attributeOf(Args.required(a[0], "groupby", "attribute"), a[1]);
        boolean caseSensitive = Values.isTrue(Args.orElse(a[2], false));
        List<Object> groups = new ArrayList<>();
        Object current = Args.MISSING;
        List<Object> members = null;
        for (Object item : sorted(items(value), order(key, caseSensitive), false)) {
            Object itemKey = key.apply(item);
            if (members == null || !Values.equal(foldedCase(current, caseSensitive), foldedCase(itemKey, caseSensitive), budget)) {
                current = itemKey;
                members = new ArrayList<>();
                groups.add(new Group(current, members).toTuple());
            }
            members.add(item);
        }
        return groups;
    }

    private record Group(Object grouper, List<Object> members) {
        Tuple toTuple() {
            return Tuple.of(grouper, members);
        }
    }

    private List<Object> batch(Object value, Args args) {
        Object[] a = args.bind("batch", "linecount", "fill_with");
        long size = Math.max(1, Args.integer(Args.required(a[0], "batch", "linecount"), 1, "batch"));
        List<Object> batches = new ArrayList<>();
        List<Object> current = null;
        for (Object item : items(value)) {
            if (current == null || current.size() == size) {
                current = new ArrayList<>();
                batches.add(current);
            }
            current.add(item);
        }
        if (current != null && a[1] != Args.MISSING && a[1] != null) {
            budget.charge(size - current.size());
            while (current.size() < size) {
                current.add(a[1]);
            }
        }
        return batches;
    }

    private List<Object> slice(Object value, Args args) {
        Object[] a = args.bind("slice", "slices", "fill_with");
        long numSlices = Args.integer(Args.required(a[0], "slice", "slices"), 1, "slice");
        if (numSlices < 1) {
            throw JinjaException.type("slice() needs at least one slice");
        }
        budget.charge(numSlices);
        List<?> items = items(value);
        int shortSize = (int) (items.size() / numSlices);
        int numLong = (int) (items.size() % numSlices);
        List<Object> slices = new ArrayList<>();
        int begin = 0;
        for (int i = 0; i < numSlices; i++) {
            int end = begin + shortSize + (i < numLong ? 1 : 0);
            List<Object> part = new ArrayList<>(items.subList(begin, end));
            if (i >= numLong && numLong > 0 && a[1] != Args.MISSING && a[1] != null) {
                part.add(a[1]);
            }
            slices.add(part);
            begin = end;
        }
        return slices;
    }
}

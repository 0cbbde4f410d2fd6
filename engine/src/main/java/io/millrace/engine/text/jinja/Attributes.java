package io.millrace.engine.text.jinja;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** What {@code value.name} and {@code value[key]} find, under the rules of Jinja2's immutable sandbox. */
final class Attributes {
    /** Jinja2's list, which leaves out {@code pop} of lists; templates rely on that. */
    private static final Set<String> UNSAFE_LIST = Set.of("append", "reverse", "insert", "sort", "extend", "remove", "clear");
    private static final Set<String> UNSAFE_DICT = Set.of("clear", "pop", "popitem", "setdefault", "update");

    private final Budget budget;

    Attributes(Budget budget) {
        this.budget = budget;
    }

    /** {@code target.name}: attributes win over items. */
    Object attribute(Object target, String name) {
        if (target instanceof Undefined undefined) {
            throw undefined.exception();
        }
        Object attribute = own(target, name);
        if (attribute != Args.MISSING) {
            return attribute;
        }
        if (target instanceof Map<?, ?> map && map.containsKey(name)) {
            return map.get(name);
        }
        return Undefined.attribute(target, name);
    }

    /** {@code target[key]}: items win over attributes. */
    Object item(Object target, Object key) {
        if (target instanceof Undefined undefined) {
            throw undefined.exception();
        }
        if (target instanceof Map<?, ?> map && !(key instanceof Undefined) && Values.contains(map, key, budget)) {
            return map.get(key instanceof Markup markup ? markup.text() : key);
        }
        if (key instanceof Long || key instanceof Boolean) {
            long index = Numbers.toBig(key).longValue();
            Object item = target instanceof List<?> list ? element(list, index) : characterOf(target, index);
            if (item != Args.MISSING) {
                return item;
            }
        }
        String name = Values.textOrNull(key);
        if (name == null) {
            return Undefined.item(target, Printer.repr(key, budget));
        }
        Object attribute = own(target, name);
        return attribute == Args.MISSING ? Undefined.attribute(target, name) : attribute;
    }

    private static Object element(List<?> list, long index) {
        long position = index < 0 ? index + list.size() : index;
        return position >= 0 && position < list.size() ? list.get((int) position) : Args.MISSING;
    }

    private Object characterOf(Object target, long index) {
        String text = Values.textOrNull(target);
        if (text == null) {
            return Args.MISSING;
        }
        budget.charge(text.length());
        long length = Values.length(text);
        long position = index < 0 ? index + length : index;
        return position >= 0 && position < length
                ? Character.toString(text.codePointAt(text.offsetByCodePoints(0, (int) position))) : Args.MISSING;
    }

    private Object own(Object target, String name) {
        if (name.startsWith("__")) {
            return Undefined.unsafe(target, name);
        }
        Object found = switch (target) {
            case String text -> StringMethods.find(text, name, budget);
            case Markup markup -> StringMethods.find(markup.text(), name, budget);
            case Range _ -> null;
            case Tuple tuple -> sequenceMethod(tuple, name);
            case List<?> list -> UNSAFE_LIST.contains(name) ? Undefined.unsafe(list, name) : listMethod(list, name);
            case Map<?, ?> map -> UNSAFE_DICT.contains(name) ? Undefined.unsafe(map, name) : dictMethod(map, name);
            case Namespace namespace -> namespace.attributes.containsKey(name) ? namespace.attributes.get(name) : Args.MISSING;
            case Loop loop -> loop.attribute(name);
            case Macro macro when name.equals("name") -> macro.name();
            case null, default -> null;
        };
        boolean isValue = target instanceof Namespace || target instanceof Loop;
        return found == null && !isValue ? Args.MISSING : found;
    }

    private Callable sequenceMethod(List<?> list, String name) {
        return switch (name) {
            case "count" -> args -> {
                Object wanted = args.bind(name, "value")[0];
                return list.stream().filter(item -> Values.equal(item, wanted, budget)).count();
            };
            case "index" -> args -> {
                Object wanted = args.bind(name, "value")[0];
                for (int i = 0; i < list.size(); i++) {
                    if (Values.equal(list.get(i), wanted, budget)) {
                        return (long) i;
                    }
                }
                throw JinjaException.type(Printer.repr(wanted, budget) + " is not in list");
            };
            default -> null;
        };
    }

    private Callable listMethod(List<?> list, String name) {
        return switch (name) {
            case "pop" -> args -> {
                long index = Args.integer(args.bind(name, "index")[0], -1, name);
                Object item = element(list, index);
                if (item == Args.MISSING) {
                    throw JinjaException.type(list.isEmpty() ? "pop from empty list" : "pop index out of range");
                }
                budget.charge(list.size());
                list.remove((int) (index < 0 ? index + list.size() : index));
                return item;
            };
            case "copy" -> args -> {
                args.bind(name);
                budget.charge(list.size());
                return new ArrayList<Object>(list);
            };
            default -> sequenceMethod(list, name);
        };
    }

    private Callable dictMethod(Map<?, ?> map, String name) {
        return switch (name) {
            case "items" -> args -> {
                args.bind(name);
                return items(map);
            };
            case "keys" -> args -> {
                args.bind(name);
                budget.charge(map.size());
                return new ArrayList<Object>(map.keySet());
            };
            case "values" -> args -> {
                args.bind(name);
                budget.charge(map.size());
                return new ArrayList<Object>(map.values());
            };
            case "get" -> args -> {
                Object[] a = args.bind(name, "key", "default");
                Object key = Args.required(a[0], name, "key");
                return Values.contains(map, key, budget) ? map.get(key instanceof Markup m ? m.text() : key) : Args.orElse(a[1], null);
            };
            case "copy" -> args -> {
                args.bind(name);
                budget.charge(map.size());
                Map<Object, Object> copy = map instanceof Dict ? new Dict() : LinkedHashMap.newLinkedHashMap(map.size());
                copy.putAll(map);
                return copy;
            };
            default -> null;
        };
    }

    List<Object> items(Map<?, ?> map) {
        budget.charge(map.size() * 4L);
        List<Object> items = new ArrayList<>(map.size());
        map.forEach((key, value) -> items.add(Tuple.of(key, value)));
        return items;
    }

    /** {@code target[begin:end:step]}; nulls for what is left out. */
    Object slice(Object target, Object begin, Object end, Object step) {
        String text = Values.textOrNull(target);
        if (text == null && !(target instanceof List<?>)) {
            throw Values.undefinedOr(target, () -> JinjaException.type("'" + Values.typeName(target) + "' object is not subscriptable"));
        }
        if (text != null) {
            budget.charge(text.length());
        }
        int[] codePoints = text == null ? null : text.codePoints().toArray();
        List<?> list = text == null ? (List<?>) target : null;
        int length = text == null ? list.size() : codePoints.length;
        long stride = bound(step, 1);
        if (stride == 0) {
            throw JinjaException.type("slice step cannot be zero");
        }
        long first = clamp(bound(begin, stride > 0 ? 0 : length - 1L), length, stride, begin == null);
        long last = clamp(bound(end, stride > 0 ? length : -1), length, stride, end == null);
        budget.charge(length);
        StringBuilder characters = new StringBuilder();
        List<Object> items = new ArrayList<>();
        for (long i = first; stride > 0 ? i < last : i > last; i += stride) {
            if (text == null) {
                items.add(list.get((int) i));
            } else {
                characters.appendCodePoint(codePoints[(int) i]);
            }
        }
        return text != null ? characters.toString() : target instanceof Tuple ? new Tuple(items) : items;
    }

    private static long bound(Object value, long fallback) {
        long bound = Args.integer(value == null ? Args.MISSING : value, fallback, "slice");
        // Beyond any sequence, and far from overflow when a stride is added.
        return Math.clamp(bound, -(1L << 40), 1L << 40);
    }

    private static long clamp(long index, int length, long stride, boolean isDefault) {
        if (isDefault) {
            return index;
        }
        long position = index < 0 ? index + length : index;
        return stride > 0 ? Math.clamp(position, 0, length) : Math.clamp(position, -1, length - 1L);
    }
}

package io.millrace.engine.text.jinja;

import java.util.AbstractMap;
import java.util.AbstractSet;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Python's dictionary: insertion order, any hashable key, and 1, 1.0 and true are one key, of which the first spelling stays. */
final class Dict extends AbstractMap<Object, Object> {
    /** A tuple that holds itself twice over doubles with every level; as a key it is spelled out. */
    private static final int MAX_KEY_PARTS = 1000;

    /** By normalized key. */
    private final Map<Object, Entry<Object, Object>> entries = new LinkedHashMap<>();

    @Override
    public Object put(Object key, Object value) {
        Entry<Object, Object> present = entries.get(normalized(key));
        if (present != null) {
            return present.setValue(value);
        }
        entries.put(normalized(key), new SimpleEntry<>(key, value));
        return null;
    }

    @Override
    public Object get(Object key) {
        Entry<Object, Object> entry = entries.get(normalized(key));
        return entry == null ? null : entry.getValue();
    }

    @Override
    public boolean containsKey(Object key) {
        return entries.containsKey(normalized(key));
    }

    @Override
    public int size() {
        return entries.size();
    }

    @Override
    public Set<Entry<Object, Object>> entrySet() {
        return new AbstractSet<>() {
            @Override
            public Iterator<Entry<Object, Object>> iterator() {
                return entries.values().iterator();
            }

            @Override
            public int size() {
                return entries.size();
            }
        };
    }

    private static Object normalized(Object key) {
        return normalized(key, new int[] {MAX_KEY_PARTS});
    }

    private static Object normalized(Object key, int[] numPartsLeft) {
        if (--numPartsLeft[0] < 0) {
            throw JinjaException.limit("parts of a dictionary key", MAX_KEY_PARTS);
        }
        return switch (key) {
            case null -> null;
            case Boolean b -> b ? 1L : 0L;
            case Double d when d == Math.rint(d) && Math.abs(d) < 1L << 53 -> (long) (double) d;
            case Markup markup -> markup.text();
            case Tuple tuple -> List.of("tuple", tuple.stream().map(item -> item == null ? Dict.class : normalized(item, numPartsLeft)).toList());
            case List<?> list -> throw JinjaException.type("unhashable type: '" + Values.typeName(list) + "'");
            case Map<?, ?> _ -> throw JinjaException.type("unhashable type: 'dict'");
            default -> key;
        };
    }
}

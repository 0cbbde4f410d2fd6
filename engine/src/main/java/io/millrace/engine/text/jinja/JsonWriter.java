package io.millrace.engine.text.jinja;

import java.math.BigInteger;
import java.util.List;
import java.util.Map;

/** {@code json.dumps} as HF transformers calls it for {@code tojson}: not escaped for HTML, non-ASCII kept unless asked otherwise. */
final class JsonWriter {
    private final Budget budget;
    private final boolean ensureAscii;
    /** Null for one line. */
    private final String indent;
    private final String itemSeparator;
    private final String keySeparator;
    private final boolean sortKeys;
    private final StringBuilder out = new StringBuilder();
    private int depth;

    private JsonWriter(Budget budget, boolean ensureAscii, String indent, String itemSeparator, String keySeparator, boolean sortKeys) {
        this.budget = budget;
        this.ensureAscii = ensureAscii;
        this.indent = indent;
        this.itemSeparator = itemSeparator;
        this.keySeparator = keySeparator;
        this.sortKeys = sortKeys;
    }

    /** The {@code tojson} filter. */
    static String filter(Object value, Args args, Budget budget) {
        Object[] a = args.bind("tojson", "ensure_ascii", "indent", "separators", "sort_keys");
        Object indentArg = Args.orElse(a[1], null);
        String indent = indentArg == null ? null : indentArg instanceof String text ? text : spaces(Args.integer(indentArg, 0, "tojson"));
        String item = indent == null ? ", " : ",";
        String key = ": ";
        Object separators = Args.orElse(a[2], null);
        if (separators != null) {
            if (!(separators instanceof List<?> pair) || pair.size() != 2) {
                throw JinjaException.type("tojson() separators must be a pair of strings");
            }
            item = Args.string(pair.get(0), "tojson");
            key = Args.string(pair.get(1), "tojson");
        }
        JsonWriter writer = new JsonWriter(budget, Values.isTrue(Args.orElse(a[0], false)), indent, item, key,
                Values.isTrue(Args.orElse(a[3], false)));
        writer.write(value);
        return writer.out.toString();
    }

    private static String spaces(long width) {
        if (width > 64) {
            throw JinjaException.limit("columns of JSON indentation", 64);
        }
        return " ".repeat((int) Math.max(0, width));
    }

    private void write(Object value) {
        budget.step();
        switch (value) {
            case null -> out.append("null");
            case Boolean b -> out.append(b.booleanValue());
            case Long number -> out.append(number);
            case BigInteger number -> out.append(number);
            case Double number -> out.append(number(number));
            case String text -> quote(text);
            case Markup markup -> quote(markup.text());
            case Range _ -> throw unserializable(value);
            case List<?> list -> writeList(list);
            case Map<?, ?> map -> writeMap(map);
            default -> throw unserializable(value);
        }
        if (out.length() > Budget.MAX_CHARS) {
            throw JinjaException.limit("characters in one value", Budget.MAX_CHARS);
        }
    }

    private static JinjaException unserializable(Object value) {
        return JinjaException.type("Object of type " + Values.typeName(value) + " is not JSON serializable");
    }

    private static String number(double value) {
        return Double.isNaN(value) ? "NaN" : Double.isInfinite(value) ? value > 0 ? "Infinity" : "-Infinity" : Numbers.repr(value);
    }

    private void writeList(List<?> list) {
        if (list.isEmpty()) {
            out.append("[]");
            return;
        }
        open('[');
        boolean isFirst = true;
        for (Object item : list) {
            separate(isFirst);
            isFirst = false;
            write(item);
        }
        close(']');
    }

    private void writeMap(Map<?, ?> map) {
        if (map.isEmpty()) {
            out.append("{}");
            return;
        }
        open('{');
        boolean isFirst = true;
        var entries = map.entrySet().stream();
        if (sortKeys) {
            entries = entries.sorted((x, y) -> Values.compare(x.getKey(), y.getKey(), "<", budget));
        }
        for (var entry : entries.toList()) {
            separate(isFirst);
            isFirst = false;
            quote(key(entry.getKey()));
            out.append(keySeparator);
            write(entry.getValue());
        }
        close('}');
    }

    private static String key(Object key) {
        return switch (key) {
            case null -> "null";
            case String text -> text;
            case Markup markup -> markup.text();
            case Boolean b -> b.toString();
            case Double number -> number(number);
            case Number number -> number.toString();
            default -> throw JinjaException.type("keys must be str, int, float, bool or None, not " + Values.typeName(key));
        };
    }

    private void open(char bracket) {
        budget.enter();
        depth++;
        out.append(bracket);
    }

    private void separate(boolean isFirst) {
        if (!isFirst) {
            out.append(itemSeparator);
        }
        newLine();
    }

    private void newLine() {
        if (indent != null) {
            out.append('\n').repeat(indent, depth);
        }
    }

    private void close(char bracket) {
        depth--;
        newLine();
        out.append(bracket);
        budget.leave();
    }

    private void quote(String text) {
        budget.charge(text.length());
        out.append('"');
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            switch (c) {
                case '"' -> out.append("\\\"");
                case '\\' -> out.append("\\\\");
                case '\n' -> out.append("\\n");
                case '\r' -> out.append("\\r");
                case '\t' -> out.append("\\t");
                case '\b' -> out.append("\\b");
                case '\f' -> out.append("\\f");
                default -> {
                    if (c < 0x20 || ensureAscii && c > 0x7E) {
                        out.append("\\u%04x".formatted((int) c));
                    } else {
                        out.append(c);
                    }
                }
            }
        }
        out.append('"');
    }
}

package io.millrace.engine.text.jinja;

import java.util.List;
import java.util.Map;

/** Python's {@code str()} and {@code repr()}. */
final class Printer {
    private final Budget budget;
    private final StringBuilder out = new StringBuilder();

    private Printer(Budget budget) {
        this.budget = budget;
    }

    static String str(Object value, Budget budget) {
        String text = Values.textOrNull(value);
        if (text != null) {
            budget.step();
            return text;
        }
        if (value instanceof Undefined undefined) {
            if (undefined.kind() != JinjaException.Kind.UNDEFINED) {
                throw undefined.exception();
            }
            return "";
        }
        return repr(value, budget);
    }

    static String repr(Object value, Budget budget) {
        Printer printer = new Printer(budget);
        printer.write(value);
        return printer.out.toString();
    }

    private void write(Object value) {
        budget.step();
        switch (value) {
            case null -> out.append("None");
            case Boolean b -> out.append(b ? "True" : "False");
            case Double d -> out.append(Numbers.repr(d));
            case String text -> quote(text);
            case Markup markup -> {
                out.append("Markup(");
                quote(markup.text());
                out.append(')');
            }
            case Undefined _ -> out.append("Undefined");
            case Range range -> out.append(range);
            case List<?> list -> writeList(list);
            case Map<?, ?> map -> writeMap(map);
            case Number number -> out.append(number);
            default -> out.append('<').append(Values.typeName(value)).append('>');
        }
        if (out.length() > Budget.MAX_CHARS) {
            throw JinjaException.limit("characters in one value", Budget.MAX_CHARS);
        }
    }

    private void writeList(List<?> list) {
        budget.enter();
        boolean isTuple = list instanceof Tuple;
        out.append(isTuple ? '(' : '[');
        String separator = "";
        for (Object item : list) {
            out.append(separator);
            write(item);
            separator = ", ";
        }
        out.append(isTuple ? list.size() == 1 ? ",)" : ")" : "]");
        budget.leave();
    }

    private void writeMap(Map<?, ?> map) {
        budget.enter();
        out.append('{');
        String separator = "";
        for (var entry : map.entrySet()) {
            out.append(separator);
            write(entry.getKey());
            out.append(": ");
            write(entry.getValue());
            separator = ", ";
        }
        out.append('}');
        budget.leave();
    }

    private void quote(String text) {
        budget.charge(text.length());
        char quote = text.indexOf('\'') >= 0 && text.indexOf('"') < 0 ? '"' : '\'';
        out.append(quote);
        text.codePoints().forEach(c -> {
            switch (c) {
                case '\n' -> out.append("\\n");
                case '\t' -> out.append("\\t");
                case '\r' -> out.append("\\r");
                case '\\' -> out.append("\\\\");
                default -> {
                    if (c == quote) {
                        out.append('\\').append(quote);
                    } else if (isPrintable(c)) {
                        out.appendCodePoint(c);
                    } else {
                        out.append(c < 0x100 ? "\\x%02x".formatted(c) : c < 0x10000 ? "\\u%04x".formatted(c) : "\\U%08x".formatted(c));
                    }
                }
            }
        });
        out.append(quote);
    }

    private static boolean isPrintable(int c) {
        return switch (Character.getType(c)) {
            case Character.CONTROL, Character.FORMAT, Character.SURROGATE, Character.PRIVATE_USE, Character.UNASSIGNED,
                    Character.LINE_SEPARATOR, Character.PARAGRAPH_SEPARATOR -> false;
            case Character.SPACE_SEPARATOR -> c == ' ';
            default -> true;
        };
    }
}

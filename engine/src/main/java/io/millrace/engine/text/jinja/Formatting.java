package io.millrace.engine.text.jinja;

import java.util.List;
import java.util.Map;

/** {@code 'a {} b'.format(x)} and {@code 'a %s b' % x}, without Python's mini-languages for widths of anything but numbers and strings. */
final class Formatting {
    private Formatting() {}

    /** Fields are {@code {}}, {@code {0}} or {@code {name}}, doubled braces are braces. */
    static String braces(String format, Args args, Budget budget) {
        budget.charge(format.length());
        StringBuilder out = new StringBuilder();
        int next = 0;
        for (int i = 0; i < format.length(); i++) {
            char c = format.charAt(i);
            boolean isDoubled = i + 1 < format.length() && format.charAt(i + 1) == c;
            if (c != '{' && c != '}') {
                out.append(c);
            } else if (isDoubled) {
                out.append(c);
                i++;
            } else {
                int end = format.indexOf('}', i);
                if (c == '}' || end < 0) {
                    throw JinjaException.type("Single '" + c + "' encountered in format string");
                }
                budget.step();
                String field = format.substring(i + 1, end);
                String key = field.isEmpty() ? String.valueOf(next++) : field;
                append(out, Printer.str(field(key, args), budget), budget);
                i = end;
            }
        }
        return out.toString();
    }

    private static Object field(String key, Args args) {
        if (key.chars().allMatch(Character::isDigit) && key.length() < 9) {
            int index = Integer.parseInt(key);
            if (index >= args.positional().size()) {
                throw JinjaException.type("Replacement index " + index + " out of range for positional args tuple");
            }
            return args.positional().get(index);
        }
        if (!args.named().containsKey(key)) {
            throw JinjaException.type("format field '" + key + "' is not an argument; only {}, {0} and {name} are supported");
        }
        return args.named().get(key);
    }

    /** @param values a tuple, a mapping for {@code %(name)s}, or the single value */
    static String percent(String format, Object values, Budget budget) {
        budget.charge(format.length());
        StringBuilder out = new StringBuilder();
        int numUsed = 0;
        for (int i = 0; i < format.length(); i++) {
            char c = format.charAt(i);
            if (c != '%') {
                out.append(c);
                continue;
            }
            if (++i < format.length() && format.charAt(i) == '%') {
                out.append('%');
                continue;
            }
            Object value = null;
            boolean isNamed = i < format.length() && format.charAt(i) == '(';
            if (isNamed) {
                int end = format.indexOf(')', i);
                if (end < 0 || !(values instanceof Map<?, ?> map)) {
                    throw JinjaException.type("format requires a mapping");
                }
                value = map.get(format.substring(i + 1, end));
                i = end + 1;
            }
            int begin = i;
            while (i < format.length() && "-+ #0123456789.".indexOf(format.charAt(i)) >= 0) {
                i++;
            }
            if (i >= format.length()) {
                throw JinjaException.type("incomplete format");
            }
            if (!isNamed) {
                List<?> positional = values instanceof Tuple tuple ? tuple : java.util.Collections.singletonList(values);
                if (numUsed >= positional.size()) {
                    throw JinjaException.type("not enough arguments for format string");
                }
                value = positional.get(numUsed++);
            }
            append(out, conversion(format.substring(begin, i), format.charAt(i), value, budget), budget);
        }
        if (values instanceof Tuple tuple && numUsed < tuple.size() || !(values instanceof Tuple) && !(values instanceof Map) && numUsed == 0) {
            throw JinjaException.type("not all arguments converted during string formatting");
        }
        return out.toString();
    }

    private static String conversion(String flags, char type, Object value, Budget budget) {
        if (flags.length() > 6) {
            throw JinjaException.limit("characters of flags in a format", 6);
        }
        boolean isNumeric = "diufFeEgGxXo".indexOf(type) >= 0;
        if ("xXo".indexOf(type) >= 0 && value instanceof Double || "diu".indexOf(type) >= 0 && value instanceof Double d && !Double.isFinite(d)) {
            throw JinjaException.type("%" + type + " format: an integer is required, not " + Printer.repr(value, budget));
        }
        if (isNumeric && !Numbers.isNumber(value)) {
            throw Values.undefinedOr(value, () -> JinjaException.type("%" + type + " format: a real number is required, not " + Values.typeName(value)));
        }
        try {
            return switch (type) {
                case 's' -> ("%" + flags + "s").formatted(bounded(flags, Printer.str(value, budget)));
                case 'r' -> ("%" + flags + "s").formatted(bounded(flags, Printer.repr(value, budget)));
                case 'd', 'i', 'u' -> ("%" + flags + "d").formatted(value instanceof Double d ? new java.math.BigDecimal(d).toBigInteger() : Numbers.toBig(value));
                case 'f', 'F' -> ("%" + bounded(flags, flags) + "f").formatted(Numbers.toDouble(value));
                case 'e', 'E', 'g', 'G' -> ("%" + bounded(flags, flags) + type).formatted(Numbers.toDouble(value));
                case 'x', 'X', 'o' -> ("%" + flags + type).formatted(Numbers.toBig(value));
                default -> throw JinjaException.type("unsupported format character '" + type + "'");
            };
        } catch (java.util.IllegalFormatException e) {
            throw JinjaException.type("unsupported format '%" + flags + type + "'");
        }
    }

    /** Widths and precisions choose the size of the result. */
    private static String bounded(String flags, String value) {
        if (flags.chars().filter(Character::isDigit).count() > 4) {
            throw JinjaException.limit("digits of width in a format", 4);
        }
        return value;
    }

    private static void append(StringBuilder out, String text, Budget budget) {
        budget.charge(text.length());
        out.append(text);
        if (out.length() > Budget.MAX_CHARS) {
            throw JinjaException.limit("characters in one value", Budget.MAX_CHARS);
        }
    }
}

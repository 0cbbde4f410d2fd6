package io.millrace.engine.text.jinja;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/** Jinja2's built-in filters, less those that make HTML. Those over sequences are in {@link SequenceFilters}. */
final class Filters {
    private static final Set<String> NAMES = Set.of("abs", "capitalize", "center", "d", "default", "e", "escape", "float", "forceescape",
            "format", "indent", "int", "lower", "pprint", "replace", "round", "safe", "string", "title", "tojson", "trim", "truncate", "upper",
            "urlencode", "wordcount", "wordwrap", "attr", "striptags");

    private Filters() {}

    static boolean isKnown(String name) {
        return NAMES.contains(name) || SequenceFilters.NAMES.contains(name);
    }

    static Object apply(String name, Object value, Args args, Evaluator evaluator) {
        Budget budget = evaluator.budget;
        budget.step();
        return switch (name) {
            case "upper" -> charged(text(value, name, args, budget), budget).toUpperCase(Locale.ROOT);
            case "lower" -> charged(text(value, name, args, budget), budget).toLowerCase(Locale.ROOT);
            case "capitalize" -> StringMethods.capitalize(charged(text(value, name, args, budget), budget));
            case "title" -> title(charged(text(value, name, args, budget), budget));
            case "string" -> value instanceof Markup ? value : text(value, name, args, budget);
            case "safe" -> new Markup(text(value, name, args, budget));
            case "escape", "e" -> value instanceof Markup ? value : new Markup(Markup.escape(charged(text(value, name, args, budget), budget)));
            case "forceescape" -> new Markup(Markup.escape(charged(text(value, name, args, budget), budget)));
            case "pprint" -> Printer.repr(value, budget);
            case "striptags" -> stripTags(charged(text(value, name, args, budget), budget), budget);
            case "trim" -> StringMethods.strip(Printer.str(value, budget), Args.stringOrNull(args.bind(name, "chars")[0], name), true, true, budget);
            case "wordcount" -> wordCount(charged(text(value, name, args, budget), budget));
            case "urlencode" -> urlEncode(charged(text(value, name, args, budget), budget));
            case "center" -> StringMethods.find(Printer.str(value, budget), "center", budget)
                    .call(new Args(List.of(Args.orElse(args.bind(name, "width")[0], 80L)), Map.of()));
            case "replace" -> {
                Object[] a = args.bind(name, "old", "new", "count");
                yield StringMethods.replace(Printer.str(value, budget), Printer.str(Args.required(a[0], name, "old"), budget),
                        Printer.str(Args.required(a[1], name, "new"), budget), a[2] == null ? -1 : Args.integer(a[2], -1, name), budget);
            }
            case "format" -> Formatting.percent(Printer.str(value, budget),
                    args.named().isEmpty() ? new Tuple(args.positional()) : args.named(), budget);
            case "indent" -> indent(value, args, budget);
            case "truncate" -> truncate(Printer.str(value, budget), args, budget);
            case "wordwrap" -> wordWrap(Printer.str(value, budget), args, budget);
            case "tojson" -> JsonWriter.filter(value, args, budget);
            case "default", "d" -> {
                Object[] a = args.bind(name, "default_value", "boolean");
                boolean isMissing = value instanceof Undefined || Values.isTrue(Args.orElse(a[1], false)) && !Values.isTrue(value);
                yield isMissing ? Args.orElse(a[0], "") : value;
            }
            case "attr" -> evaluator.attributes.attribute(value, Args.string(args.bind(name, "name")[0], name));
            case "abs" -> Numbers.isNumber(value) && Numbers.compare(value, 0L) >= 0 ? Numbers.arithmetic("+", value, 0L) : negate(value, name);
            case "int" -> toInteger(value, args);
            case "float" -> toFloat(value, args);
            case "round" -> round(value, args);
            default -> SequenceFilters.apply(name, value, args, evaluator);
        };
    }

    private static String text(Object value, String name, Args args, Budget budget) {
        args.bind(name);
        return Printer.str(value, budget);
    }

    private static String charged(String text, Budget budget) {
        budget.charge(text.length());
        return text;
    }

    /** Upper case behind the start, white space, hyphens and opening brackets, unlike {@code str.title}. */
    private static String title(String text) {
        StringBuilder out = new StringBuilder(text.length());
        boolean startsWord = true;
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            out.append(startsWord ? Character.toUpperCase(c) : Character.toLowerCase(c));
            startsWord = c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || Lexer.isSpace(c);
        }
        return out.toString();
    }

    /** Comments and tags go, runs of white space become one space. In one pass: a pattern would scan on from every bracket. */
    private static String stripTags(String text, Budget budget) {
        TextSearch commentEnd = TextSearch.forward("-->", budget);
        TextSearch tagEnd = TextSearch.forward(">", budget);
        boolean[] isOpen = {true, true};
        StringBuilder out = new StringBuilder(text.length());
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            boolean isComment = c == '<' && text.startsWith("<!--", i);
            int end = isComment ? endOf(commentEnd, text, i + 4, isOpen, 0) : -1;
            int last = end >= 0 ? end + 2 : c == '<' ? endOf(tagEnd, text, i, isOpen, 1) : -1;
            if (last >= 0) {
                i = last;
            } else if (!Lexer.isSpace(c)) {
                out.append(c);
            } else if (!out.isEmpty() && out.charAt(out.length() - 1) != ' ') {
                out.append(' ');
            }
        }
        return out.toString().strip();
    }

    /** Once there is no further end, none is looked for again. */
    private static int endOf(TextSearch end, String text, int begin, boolean[] isOpen, int kind) {
        int found = isOpen[kind] ? end.from(text, begin) : -1;
        isOpen[kind] = found >= 0;
        return found;
    }

    private static long wordCount(String text) {
        long count = 0;
        boolean wasWord = false;
        for (int i = 0; i < text.length(); i++) {
            boolean isWord = Character.isLetterOrDigit(text.charAt(i)) || text.charAt(i) == '_';
            count += isWord && !wasWord ? 1 : 0;
            wasWord = isWord;
        }
        return count;
    }

    private static String urlEncode(String text) {
        return java.net.URLEncoder.encode(text, java.nio.charset.StandardCharsets.UTF_8).replace("+", "%20").replace("%2F", "/")
                .replace("%7E", "~").replace("*", "%2A");
    }

    private static String indent(Object value, Args args, Budget budget) {
        Object[] a = args.bind("indent", "width", "first", "blank");
        Object width = Args.orElse(a[0], 4L);
        boolean indentsFirst = Values.isTrue(Args.orElse(a[1], false));
        boolean indentsBlank = Values.isTrue(Args.orElse(a[2], false));
        long columns = width instanceof String ? 0 : Args.integer(width, 4, "indent");
        budget.charge(columns);
        String prefix = width instanceof String text ? text : " ".repeat((int) Math.max(0, columns));
        StringBuilder out = new StringBuilder();
        // As Jinja2: a final newline is a blank line of its own.
        String[] lines = Printer.str(value, budget).split("\n", -1);
        for (int i = 0; i < lines.length; i++) {
            boolean isIndented = i == 0 ? indentsFirst : indentsBlank || !lines[i].isEmpty();
            budget.charge(prefix.length() + (long) lines[i].length());
            out.append(i == 0 ? "" : "\n").append(isIndented ? prefix : "").append(lines[i]);
            budget.charge(out.length() > Budget.MAX_CHARS ? out.length() : 0);
        }
        return out.toString();
    }

    private static String truncate(String text, Args args, Budget budget) {
        Object[] a = args.bind("truncate", "length", "killwords", "end", "leeway");
        long length = Args.integer(a[0], 255, "truncate");
        String end = a[2] == Args.MISSING ? "..." : Args.string(a[2], "truncate");
        long leeway = a[3] == null ? 5 : Args.integer(a[3], 5, "truncate");
        budget.charge(text.length());
        long numKept = length - Values.length(end);
        if (numKept < 0) {
            throw JinjaException.type("expected length >= " + Values.length(end) + ", got " + length);
        }
        if (Values.length(text) <= length + leeway) {
            return text;
        }
        String cut = text.substring(0, text.offsetByCodePoints(0, (int) numKept));
        int lastSpace = cut.lastIndexOf(' ');
        return (Values.isTrue(Args.orElse(a[1], false)) || lastSpace < 0 ? cut : cut.substring(0, lastSpace)) + end;
    }

    private static String wordWrap(String text, Args args, Budget budget) {
        Object[] a = args.bind("wordwrap", "width");
        int width = Math.clamp(Args.integer(a[0], 79, "wordwrap"), 1, Budget.MAX_CHARS);
        budget.charge(text.length() * 2L);
        List<String> wrapped = new ArrayList<>();
        for (String line : text.split("\n", -1)) {
            StringBuilder current = new StringBuilder();
            for (String word : line.split(" ", -1)) {
                if (!current.isEmpty() && current.length() + 1 + word.length() > width) {
                    wrapped.add(current.toString());
                    current.setLength(0);
                }
                current.append(current.isEmpty() ? "" : " ").append(word);
                int begin = 0;
                while (current.length() - begin > width) {
                    budget.charge(16);
                    wrapped.add(current.substring(begin, begin + width));
                    begin += width;
                }
                current.delete(0, begin);
            }
            wrapped.add(current.toString());
        }
        return StringMethods.join("\n", wrapped, budget);
    }

    private static Object negate(Object value, String name) {
        if (!Numbers.isNumber(value)) {
            throw Values.undefinedOr(value, () -> JinjaException.type("bad operand type for " + name + "(): '" + Values.typeName(value) + "'"));
        }
        return value instanceof Double number ? (Object) Math.abs(number) : Numbers.arithmetic("-", 0L, value);
    }

    /** What does not read as a number is the default, 0 unless given. */
    private static Object toInteger(Object value, Args args) {
        Object[] a = args.bind("int", "default", "base");
        Object fallback = Args.orElse(a[0], 0L);
        String text = Values.textOrNull(value);
        if (text != null) {
            String digits = text.strip().replace("_", "");
            try {
                int radix = (int) Args.integer(a[1], 10, "int");
                String bare = radix == 16 ? digits.replaceFirst("^0[xX]", "") : radix == 8 ? digits.replaceFirst("^0[oO]", "")
                        : radix == 2 ? digits.replaceFirst("^0[bB]", "") : digits;
                if (bare.length() > 400) {
                    return fallback;
                }
                return Numbers.normalized(new java.math.BigInteger(bare, radix));
            } catch (NumberFormatException e) {
                return parseFloat(digits) instanceof Double number ? truncated(number, fallback) : fallback;
            }
        }
        return value instanceof Double number ? truncated(number, fallback) : Numbers.isNumber(value) ? Numbers.arithmetic("+", value, 0L) : fallback;
    }

    private static Object truncated(double value, Object fallback) {
        return Double.isFinite(value) ? Numbers.normalized(new java.math.BigDecimal(value).toBigInteger()) : fallback;
    }

    private static Object toFloat(Object value, Args args) {
        Object fallback = Args.orElse(args.bind("float", "default")[0], 0.0);
        String text = Values.textOrNull(value);
        Object number = text != null ? parseFloat(text.strip()) : Numbers.isNumber(value) ? (Object) Numbers.toDouble(value) : null;
        return number == null ? fallback : number;
    }

    private static Double parseFloat(String text) {
        boolean looksLikeNumber = !text.isEmpty() && text.length() <= 400 && text.chars().allMatch(c -> "0123456789+-.eE".indexOf(c) >= 0);
        try {
            return looksLikeNumber ? Double.valueOf(text) : null;
        } catch (NumberFormatException e) {
            return null;
        }
    }

    private static Object round(Object value, Args args) {
        Object[] a = args.bind("round", "precision", "method");
        if (!Numbers.isNumber(value)) {
            throw Values.undefinedOr(value, () -> JinjaException.type("type " + Values.typeName(value) + " doesn't define __round__ method"));
        }
        int precision = Math.clamp(Args.integer(a[0], 0, "round"), -300, 300);
        java.math.RoundingMode mode = switch (a[1] == Args.MISSING ? "common" : Args.string(a[1], "round")) {
            case "common" -> java.math.RoundingMode.HALF_EVEN;
            case "ceil" -> java.math.RoundingMode.CEILING;
            case "floor" -> java.math.RoundingMode.FLOOR;
            default -> throw JinjaException.type("method must be common, ceil or floor");
        };
        if (Numbers.isInteger(value) && mode == java.math.RoundingMode.HALF_EVEN) {
            return value;
        }
        double number = Numbers.toDouble(value);
        return Double.isFinite(number) ? new java.math.BigDecimal(number).setScale(precision, mode).doubleValue() : number;
    }
}

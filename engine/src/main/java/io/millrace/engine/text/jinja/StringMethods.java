package io.millrace.engine.text.jinja;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.IntPredicate;

/** The methods of Python's {@code str} that templates call. */
final class StringMethods {
    /** What one piece of a split string costs besides its characters. */
    private static final int CHARS_PER_PART = 16;

    private StringMethods() {}

    /** The bound method, or null if strings have none of that name. Every call is charged for the whole string. */
    static Callable find(String text, String name, Budget budget) {
        Callable method = method(text, name, budget);
        return method == null ? null : args -> {
            budget.charge(text.length());
            return method.call(args);
        };
    }

    private static Callable method(String text, String name, Budget budget) {
        return switch (name) {
            case "upper" -> plain(name, () -> text.toUpperCase(Locale.ROOT));
            case "lower" -> plain(name, () -> text.toLowerCase(Locale.ROOT));
            case "casefold" -> plain(name, () -> text.toUpperCase(Locale.ROOT).toLowerCase(Locale.ROOT));
            case "title" -> plain(name, () -> title(text));
            case "capitalize" -> plain(name, () -> capitalize(text));
            case "swapcase" -> plain(name, () -> swapCase(text));
            case "strip" -> args -> strip(text, Args.stringOrNull(args.bind(name, "chars")[0], name), true, true, budget);
            case "lstrip" -> args -> strip(text, Args.stringOrNull(args.bind(name, "chars")[0], name), true, false, budget);
            case "rstrip" -> args -> strip(text, Args.stringOrNull(args.bind(name, "chars")[0], name), false, true, budget);
            case "startswith" -> args -> hasAffix(text, args, name, true, budget);
            case "endswith" -> args -> hasAffix(text, args, name, false, budget);
            case "removeprefix" -> args -> {
                String prefix = Args.string(args.bind(name, "prefix")[0], name);
                return text.startsWith(prefix) ? text.substring(prefix.length()) : text;
            };
            case "removesuffix" -> args -> {
                String suffix = Args.string(args.bind(name, "suffix")[0], name);
                return text.endsWith(suffix) ? text.substring(0, text.length() - suffix.length()) : text;
            };
            case "split" -> args -> split(text, args, false, budget);
            case "rsplit" -> args -> split(text, args, true, budget);
            case "splitlines" -> args -> splitLines(text, Values.isTrue(Args.orElse(args.bind(name, "keepends")[0], false)), budget);
            case "partition" -> args -> partition(text, Args.string(args.bind(name, "sep")[0], name), false, budget);
            case "rpartition" -> args -> partition(text, Args.string(args.bind(name, "sep")[0], name), true, budget);
            case "replace" -> args -> {
                Object[] a = args.bind(name, "old", "new", "count");
                return replace(text, Args.string(a[0], name), Args.string(a[1], name), Args.integer(a[2], -1, name), budget);
            };
            case "find" -> args -> (long) codePointIndex(text, first(text, args, name, budget));
            case "rfind" -> args -> {
                TextSearch search = TextSearch.backward(Args.string(args.bind(name, "sub")[0], name), budget);
                return (long) codePointIndex(text, search.before(text, text.length()));
            };
            case "index" -> args -> {
                int index = first(text, args, name, budget);
                if (index < 0) {
                    throw JinjaException.type("substring not found");
                }
                return (long) codePointIndex(text, index);
            };
            case "count" -> args -> count(text, Args.string(args.bind(name, "sub")[0], name), budget);
            case "join" -> args -> {
                List<?> items = Values.iterate(Args.required(args.bind(name, "iterable")[0], name, "iterable"));
                List<String> parts = new ArrayList<>();
                for (Object item : items) {
                    parts.add(Args.string(item, name));
                }
                return join(text, parts, budget);
            };
            case "center" -> args -> pad(text, args, name, true, true, budget);
            case "ljust" -> args -> pad(text, args, name, false, true, budget);
            case "rjust" -> args -> pad(text, args, name, true, false, budget);
            case "zfill" -> args -> zfill(text, Args.integer(args.bind(name, "width")[0], 0, name), budget);
            case "format" -> args -> Formatting.braces(text, args, budget);
            case "isdigit", "isdecimal", "isnumeric" -> all(name, text, Character::isDigit);
            case "isalpha" -> all(name, text, Character::isLetter);
            case "isalnum" -> all(name, text, Character::isLetterOrDigit);
            case "isspace" -> all(name, text, Lexer::isSpace);
            case "isupper" -> plain(name, () -> isCased(text, Character::isUpperCase, Character::isLowerCase));
            case "islower" -> plain(name, () -> isCased(text, Character::isLowerCase, Character::isUpperCase));
            default -> null;
        };
    }

    private static int first(String text, Args args, String name, Budget budget) {
        return TextSearch.forward(Args.string(args.bind(name, "sub")[0], name), budget).from(text, 0);
    }

    private static Callable plain(String name, java.util.function.Supplier<Object> method) {
        return args -> {
            args.bind(name);
            return method.get();
        };
    }

    private static Callable all(String name, String text, IntPredicate test) {
        return args -> {
            args.bind(name);
            return !text.isEmpty() && text.codePoints().allMatch(test);
        };
    }

    static boolean isCased(String text, IntPredicate wanted, IntPredicate unwanted) {
        return text.codePoints().anyMatch(wanted) && text.codePoints().noneMatch(unwanted);
    }

    static String capitalize(String text) {
        if (text.isEmpty()) {
            return text;
        }
        int end = text.offsetByCodePoints(0, 1);
        return text.substring(0, end).toUpperCase(Locale.ROOT) + text.substring(end).toLowerCase(Locale.ROOT);
    }

    private static String title(String text) {
        StringBuilder out = new StringBuilder(text.length());
        boolean[] isInWord = {false};
        text.codePoints().forEach(c -> {
            out.appendCodePoint(isInWord[0] ? Character.toLowerCase(c) : Character.toTitleCase(c));
            isInWord[0] = Character.isLetter(c);
        });
        return out.toString();
    }

    private static String swapCase(String text) {
        StringBuilder out = new StringBuilder(text.length());
        text.codePoints().forEach(c -> out.appendCodePoint(Character.isUpperCase(c) ? Character.toLowerCase(c) : Character.toUpperCase(c)));
        return out.toString();
    }

    /** @param chars the set to strip, or null for white space */
    static String strip(String text, String chars, boolean atStart, boolean atEnd, Budget budget) {
        budget.charge(text.length());
        IntPredicate goes = chars == null ? Lexer::isSpace : oneOf(chars, budget);
        int begin = 0;
        int end = text.length();
        while (atStart && begin < end && goes.test(text.codePointAt(begin))) {
            begin += Character.charCount(text.codePointAt(begin));
        }
        while (atEnd && end > begin && goes.test(text.codePointBefore(end))) {
            end -= Character.charCount(text.codePointBefore(end));
        }
        return text.substring(begin, end);
    }

    /** Membership in logarithmic time: the set may be as long as the text. */
    private static IntPredicate oneOf(String chars, Budget budget) {
        budget.charge(chars.length() * 4L);
        int[] sorted = chars.codePoints().sorted().toArray();
        return c -> java.util.Arrays.binarySearch(sorted, c) >= 0;
    }

    private static boolean hasAffix(String text, Args args, String name, boolean atStart, Budget budget) {
        Object affix = Args.required(args.bind(name, "prefix")[0], name, "prefix");
        List<?> candidates = affix instanceof Tuple tuple ? tuple : java.util.Collections.singletonList(affix);
        for (Object candidate : candidates) {
            String wanted = Values.textOrNull(candidate);
            if (wanted == null) {
                throw Values.undefinedOr(candidate, () -> JinjaException.type(
                        name + " first arg must be str or a tuple of str, not " + Values.typeName(candidate)));
            }
            budget.charge(wanted.length());
            if (atStart ? text.startsWith(wanted) : text.endsWith(wanted)) {
                return true;
            }
        }
        return false;
    }

    private static List<Object> split(String text, Args args, boolean fromRight, Budget budget) {
        Object[] a = args.bind("split", "sep", "maxsplit");
        String separator = Args.stringOrNull(a[0], "split");
        long maxSplits = Args.integer(a[1], -1, "split");
        if (separator != null && separator.isEmpty()) {
            throw JinjaException.type("empty separator");
        }
        long limit = maxSplits < 0 ? Long.MAX_VALUE : maxSplits;
        return separator == null ? splitOnSpace(text, limit, fromRight, budget)
                : fromRight ? splitFromRight(text, separator, limit, budget) : splitFromLeft(text, separator, limit, budget);
    }

    private static List<Object> splitFromLeft(String text, String separator, long limit, Budget budget) {
        TextSearch search = TextSearch.forward(separator, budget);
        List<Object> parts = new ArrayList<>();
        int begin = 0;
        for (int at = search.from(text, 0); at >= 0 && parts.size() < limit; at = search.from(text, begin)) {
            budget.charge(CHARS_PER_PART);
            parts.add(text.substring(begin, at));
            begin = at + separator.length();
        }
        parts.add(text.substring(begin));
        return parts;
    }

    private static List<Object> splitFromRight(String text, String separator, long limit, Budget budget) {
        TextSearch search = TextSearch.backward(separator, budget);
        List<Object> parts = new ArrayList<>();
        int end = text.length();
        for (int at = search.before(text, end); at >= 0 && parts.size() < limit; at = search.before(text, end)) {
            budget.charge(CHARS_PER_PART);
            parts.add(text.substring(at + separator.length(), end));
            end = at;
        }
        parts.add(text.substring(0, end));
        return parts.reversed().stream().collect(java.util.stream.Collectors.toCollection(ArrayList::new));
    }

    private static List<Object> splitOnSpace(String text, long limit, boolean fromRight, Budget budget) {
        List<int[]> words = new ArrayList<>();
        for (int i = 0; i < text.length(); i++) {
            int begin = i;
            while (i < text.length() && !Lexer.isSpace(text.charAt(i))) {
                i++;
            }
            if (i > begin) {
                budget.charge(CHARS_PER_PART);
                words.add(new int[] {begin, i});
            }
        }
        List<Object> parts = new ArrayList<>();
        int numWords = words.size();
        if (numWords <= limit || numWords == 0) {
            words.forEach(word -> parts.add(text.substring(word[0], word[1])));
        } else if (fromRight) {
            int first = numWords - (int) limit;
            parts.add(text.substring(0, words.get(first - 1)[1]));
            words.subList(first, numWords).forEach(word -> parts.add(text.substring(word[0], word[1])));
            if (parts.getFirst() instanceof String head && head.isEmpty()) {
                parts.removeFirst();
            }
        } else {
            words.subList(0, (int) limit).forEach(word -> parts.add(text.substring(word[0], word[1])));
            parts.add(text.substring(words.get((int) limit)[0]));
        }
        return parts;
    }

    private static List<Object> splitLines(String text, boolean keepEnds, Budget budget) {
        List<Object> lines = new ArrayList<>();
        int begin = 0;
        while (begin < text.length()) {
            int end = begin;
            while (end < text.length() && !isLineBreak(text.charAt(end))) {
                end++;
            }
            int next = end;
            if (next < text.length()) {
                next += text.startsWith("\r\n", next) ? 2 : 1;
            }
            budget.charge(CHARS_PER_PART);
            lines.add(text.substring(begin, keepEnds ? next : end));
            begin = next;
        }
        return lines;
    }

    private static boolean isLineBreak(char c) {
        return c >= '\n' && c <= '\r' || c >= 0x1C && c <= 0x1E || c == 0x85 || c == 0x2028 || c == 0x2029;
    }

    private static Tuple partition(String text, String separator, boolean fromRight, Budget budget) {
        if (separator.isEmpty()) {
            throw JinjaException.type("empty separator");
        }
        int at = fromRight ? TextSearch.backward(separator, budget).before(text, text.length())
                : TextSearch.forward(separator, budget).from(text, 0);
        if (at < 0) {
            return new Tuple(fromRight ? List.of("", "", text) : List.of(text, "", ""));
        }
        return new Tuple(List.of(text.substring(0, at), separator, text.substring(at + separator.length())));
    }

    static String replace(String text, String old, String replacement, long count, Budget budget) {
        budget.charge(text.length());
        long limit = count < 0 ? Long.MAX_VALUE : count;
        TextSearch search = TextSearch.forward(old, budget);
        StringBuilder out = new StringBuilder(text.length());
        int begin = 0;
        long numReplaced = 0;
        while (numReplaced < limit) {
            int at = search.from(text, begin);
            if (at < 0) {
                break;
            }
            budget.charge(replacement.length());
            out.append(text, begin, at).append(replacement);
            begin = at + old.length();
            numReplaced++;
            if (old.isEmpty()) {
                // Python puts the replacement before every character and at the end.
                if (begin == text.length()) {
                    break;
                }
                int next = begin + Character.charCount(text.codePointAt(begin));
                out.append(text, begin, next);
                begin = next;
            }
            requireShort(out.length());
        }
        return out.append(text, begin, text.length()).toString();
    }

    private static void requireShort(long length) {
        if (length > Budget.MAX_CHARS) {
            throw JinjaException.limit("characters in one value", Budget.MAX_CHARS);
        }
    }

    static String join(String separator, List<String> parts, Budget budget) {
        long length = (long) separator.length() * Math.max(0, parts.size() - 1);
        for (String part : parts) {
            length += part.length();
        }
        budget.charge(length);
        return String.join(separator, parts);
    }

    private static long count(String text, String part, Budget budget) {
        if (part.isEmpty()) {
            return text.codePointCount(0, text.length()) + 1L;
        }
        TextSearch search = TextSearch.forward(part, budget);
        long count = 0;
        for (int at = search.from(text, 0); at >= 0; at = search.from(text, at + part.length())) {
            count++;
        }
        return count;
    }

    private static int codePointIndex(String text, int index) {
        return index < 0 ? -1 : text.codePointCount(0, index);
    }

    private static String pad(String text, Args args, String name, boolean left, boolean right, Budget budget) {
        Object[] a = args.bind(name, "width", "fillchar");
        long missing = Args.integer(Args.required(a[0], name, "width"), 0, name) - Values.length(text);
        if (missing <= 0) {
            return text;
        }
        budget.charge(missing + text.length());
        String fill = a[1] == Args.MISSING ? " " : Args.string(a[1], name);
        if (fill.length() != 1) {
            throw JinjaException.type("The fill character must be exactly one character long");
        }
        int before = !left ? 0 : !right ? (int) missing : (int) (missing / 2);
        return fill.repeat(before) + text + fill.repeat((int) missing - before);
    }

    private static String zfill(String text, long width, Budget budget) {
        long missing = width - Values.length(text);
        if (missing <= 0) {
            return text;
        }
        budget.charge(missing + text.length());
        int sign = text.startsWith("-") || text.startsWith("+") ? 1 : 0;
        return text.substring(0, sign) + "0".repeat((int) missing) + text.substring(sign);
    }
}

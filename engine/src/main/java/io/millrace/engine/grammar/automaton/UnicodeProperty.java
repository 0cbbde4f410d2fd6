package io.millrace.engine.grammar.automaton;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.IntPredicate;

/** The sets that {@code \p{...}} names: general categories, scripts and a few binary properties, by the running Java's Unicode tables. */
public final class UnicodeProperty {
    private static final Map<String, CharSet> CACHE = new ConcurrentHashMap<>();
    private static final Map<String, String> LONG_NAMES = Map.ofEntries(Map.entry("Letter", "L"), Map.entry("Uppercase_Letter", "Lu"),
            Map.entry("Lowercase_Letter", "Ll"), Map.entry("Titlecase_Letter", "Lt"), Map.entry("Modifier_Letter", "Lm"),
            Map.entry("Other_Letter", "Lo"), Map.entry("Mark", "M"), Map.entry("Nonspacing_Mark", "Mn"), Map.entry("Number", "N"),
            Map.entry("Decimal_Number", "Nd"), Map.entry("digit", "Nd"), Map.entry("Letter_Number", "Nl"), Map.entry("Other_Number", "No"),
            Map.entry("Punctuation", "P"), Map.entry("punct", "P"), Map.entry("Symbol", "S"), Map.entry("Math_Symbol", "Sm"),
            Map.entry("Currency_Symbol", "Sc"), Map.entry("Separator", "Z"), Map.entry("Space_Separator", "Zs"), Map.entry("Other", "C"),
            Map.entry("Control", "Cc"), Map.entry("cntrl", "Cc"), Map.entry("Format", "Cf"));
    private static final String[] CATEGORIES = new String[31];

    static {
        String[] names = {"Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Me", "Mc", "Nd", "Nl", "No", "", "Zs", "Zl", "Zp", "Cc", "Cf", "",
                "Co", "Cs", "Pd", "Ps", "Pe", "Pc", "Po", "Sm", "Sc", "Sk", "So", "Pi"};
        System.arraycopy(names, 0, CATEGORIES, 0, names.length);
    }

    private UnicodeProperty() {}

    /** @return null if nobody knows {@code expression}, as in {@code Lu}, {@code General_Category=Lu}, {@code Script=Greek}, {@code Alphabetic} */
    public static CharSet of(String expression) {
        CharSet known = CACHE.get(expression);
        if (known == null) {
            IntPredicate test = test(expression);
            if (test == null) {
                return null;
            }
            known = collect(test);
            CACHE.put(expression, known);
        }
        return known;
    }

    private static IntPredicate test(String expression) {
        int equals = expression.indexOf('=');
        String key = equals < 0 ? "" : expression.substring(0, equals);
        String value = expression.substring(equals + 1);
        return switch (key) {
            case "" -> category(value) != null ? category(value) : binary(value);
            case "gc", "General_Category" -> category(value);
            case "sc", "Script", "scx", "Script_Extensions" -> script(value);
            default -> null;
        };
    }

    private static IntPredicate category(String name) {
        String wanted = LONG_NAMES.getOrDefault(name, name);
        boolean known = false;
        for (String category : CATEGORIES) {
            known |= !wanted.isEmpty() && category.startsWith(wanted);
        }
        return !known && !wanted.equals("Pf") ? null : c -> {
            int type = Character.getType(c);
            String own = type == Character.FINAL_QUOTE_PUNCTUATION ? "Pf" : type == Character.INITIAL_QUOTE_PUNCTUATION ? "Pi" : CATEGORIES[type];
            return own.startsWith(wanted);
        };
    }

    private static IntPredicate script(String name) {
        try {
            Character.UnicodeScript script = Character.UnicodeScript.forName(name);
            return c -> Character.UnicodeScript.of(c) == script;
        } catch (IllegalArgumentException e) {
            return null;
        }
    }

    private static IntPredicate binary(String name) {
        return switch (name) {
            case "Any" -> c -> true;
            case "ASCII" -> c -> c < 0x80;
            case "Alphabetic", "Alpha" -> Character::isAlphabetic;
            case "Lowercase", "Lower" -> Character::isLowerCase;
            case "Uppercase", "Upper" -> Character::isUpperCase;
            case "White_Space", "space" -> c -> Character.isSpaceChar(c) || c >= 9 && c <= 13 || c == 0x85;
            case "Ideographic", "Ideo" -> Character::isIdeographic;
            case "Emoji" -> Character::isEmoji;
            default -> null;
        };
    }

    private static CharSet collect(IntPredicate test) {
        java.util.stream.IntStream.Builder bounds = java.util.stream.IntStream.builder();
        int from = -1;
        for (int c = 0; c <= CharSet.MAX_CHAR + 1; c++) {
            boolean in = c <= CharSet.MAX_CHAR && test.test(c);
            if (in && from < 0) {
                from = c;
            } else if (!in && from >= 0) {
                bounds.add(from).add(c - 1);
                from = -1;
            }
        }
        return CharSet.ofRanges(bounds.build().toArray());
    }
}

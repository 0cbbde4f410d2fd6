package io.millrace.engine.text.jinja;

/**
 * Finds a part in texts in time linear in both (Knuth, Morris, Pratt 1977), since what is searched and what for are untrusted: the JDK's search
 * multiplies their lengths. Short parts, which are all that honest templates look for, still go to the JDK. Charges the budget.
 */
final class TextSearch {
    private static final int SHORT = 16;

    private final String part;
    private final Budget budget;
    private final boolean isBackward;
    /** For each length matched, how much of it still matches after a mismatch; null for short parts. */
    private final int[] fallback;

    private TextSearch(String part, boolean isBackward, Budget budget) {
        this.part = part;
        this.isBackward = isBackward;
        this.budget = budget;
        budget.charge(part.length());
        fallback = part.length() <= SHORT ? null : fallbacks();
    }

    static TextSearch forward(String part, Budget budget) {
        return new TextSearch(part, false, budget);
    }

    static TextSearch backward(String part, Budget budget) {
        return new TextSearch(part, true, budget);
    }

    /** Index of the first occurrence that begins at {@code begin} or later, or -1. */
    int from(String text, int begin) {
        int found = fallback == null ? text.indexOf(part, begin) : scan(text, begin, text.length());
        budget.charge((found < 0 ? text.length() : found) - (long) begin);
        return found;
    }

    /** Index of the last occurrence that ends at {@code end} or earlier, or -1. */
    int before(String text, int end) {
        int found = fallback != null ? scan(text, 0, end) : end < part.length() ? -1 : text.lastIndexOf(part, end - part.length());
        budget.charge(end - (long) Math.max(0, found));
        return found;
    }

    private char partAt(int i) {
        return part.charAt(isBackward ? part.length() - 1 - i : i);
    }

    private int[] fallbacks() {
        int[] table = new int[part.length()];
        int matched = 0;
        for (int i = 1; i < table.length; i++) {
            while (matched > 0 && partAt(i) != partAt(matched)) {
                matched = table[matched - 1];
            }
            matched += partAt(i) == partAt(matched) ? 1 : 0;
            table[i] = matched;
        }
        return table;
    }

    private int scan(String text, int begin, int end) {
        int matched = 0;
        for (int i = 0; i < end - begin; i++) {
            char c = text.charAt(isBackward ? end - 1 - i : begin + i);
            while (matched > 0 && c != partAt(matched)) {
                matched = fallback[matched - 1];
            }
            matched += c == partAt(matched) ? 1 : 0;
            if (matched == part.length()) {
                return isBackward ? end - 1 - i : begin + i - matched + 1;
            }
        }
        return -1;
    }
}

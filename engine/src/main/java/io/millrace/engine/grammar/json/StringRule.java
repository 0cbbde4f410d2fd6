package io.millrace.engine.grammar.json;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;

/**
 * Strings of a schema: all demands at once.
 *
 * @param min      characters at least
 * @param max      characters at most
 * @param patterns all to match
 * @param texts    the only texts; null = any
 */
record StringRule(int min, int max, List<Pattern> patterns, Set<String> texts) {
    static final StringRule ANY = new StringRule(0, Integer.MAX_VALUE, List.of(), null);

    /** @param whole whether the whole text has to match; otherwise some part of it */
    record Pattern(String regex, boolean whole, String pointer) {}

    StringRule and(StringRule other) {
        List<Pattern> all = new ArrayList<>(patterns);
        other.patterns.stream().filter(p -> all.stream().noneMatch(q -> q.regex.equals(p.regex) && q.whole == p.whole)).forEach(all::add);
        Set<String> common = texts == null ? other.texts : texts;
        if (texts != null && other.texts != null) {
            common = new TreeSet<>(texts);
            common.retainAll(other.texts);
        }
        return new StringRule(Math.max(min, other.min), Math.min(max, other.max), all, common);
    }
}

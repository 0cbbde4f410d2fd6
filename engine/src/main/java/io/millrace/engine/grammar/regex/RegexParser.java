package io.millrace.engine.grammar.regex;

import io.millrace.engine.grammar.GrammarException;
import io.millrace.engine.grammar.automaton.CharNfa;
import io.millrace.engine.grammar.automaton.CharSet;
import java.util.ArrayList;
import java.util.List;

/**
 * ECMA-262's regular expressions in their unicode mode, as JSON Schema recommends, less what no finite automaton can do: look-around,
 * word boundaries and back references are refused with their position. Groups do not capture; lazy quantifiers are plain ones, since only
 * which texts match counts. {@code \A}, {@code \z} and {@code \Z} of other dialects are taken for anchors.
 */
final class RegexParser {
    static final int MAX_LENGTH = 100_000;
    private static final int MAX_DEPTH = 200;
    private static final int MAX_REPEAT = 100_000;

    private final String text;
    private final CharClassParser classes;
    private int at;
    private int depth;

    private RegexParser(String text) {
        this.text = text;
        this.classes = new CharClassParser(text);
    }

    /** @throws GrammarException with the position */
    static Regex parse(String text) {
        if (text.length() > MAX_LENGTH) {
            throw new GrammarException("has " + text.length() + " characters; at most " + MAX_LENGTH + " are allowed");
        }
        RegexParser parser = new RegexParser(text);
        Regex whole = parser.alternatives();
        if (parser.at < text.length()) {
            throw parser.error("unbalanced `)`", parser.at);
        }
        return whole;
    }

    private Regex alternatives() {
        if (++depth > MAX_DEPTH) {
            throw error("nested more than " + MAX_DEPTH + " levels deep", at);
        }
        List<Regex> options = new ArrayList<>();
        do {
            options.add(sequence());
        } while (accept('|'));
        depth--;
        return options.size() == 1 ? options.getFirst() : new Regex.Either(options);
    }

    private Regex sequence() {
        List<Regex> parts = new ArrayList<>();
        while (at < text.length() && peek() != '|' && peek() != ')') {
            parts.add(quantified());
        }
        return parts.size() == 1 ? parts.getFirst() : new Regex.Sequence(parts);
    }

    private Regex quantified() {
        int start = at;
        Regex atom = atom();
        int quantifiers = 0;
        while (at < text.length()) {
            int min;
            int max;
            char c = peek();
            if (c == '*' || c == '+' || c == '?') {
                at++;
                min = c == '+' ? 1 : 0;
                max = c == '?' ? 1 : -1;
            } else if (c == '{') {
                int[] counts = counts();
                if (counts == null) {
                    break;
                }
                min = counts[0];
                max = counts[1];
            } else {
                break;
            }
            if (quantifiers++ > 0) {
                throw error("nothing to repeat", at - 1);
            }
            if (atom instanceof Regex.Anchor) {
                throw error("an anchor cannot be repeated", start);
            }
            accept('?');
            if (at < text.length() && peek() == '+') {
                throw error("possessive quantifiers are not supported", at);
            }
            atom = new Regex.Repeat(atom, min, max);
        }
        return atom;
    }

    /** {@code {n}}, {@code {n,}} or {@code {n,m}}; null, with nothing consumed, if it is a plain brace. */
    private int[] counts() {
        int close = text.indexOf('}', at);
        String inside = close < 0 ? "" : text.substring(at + 1, close);
        if (!inside.matches("[0-9]+(,[0-9]*)?")) {
            return null;
        }
        int comma = inside.indexOf(',');
        int min = count(comma < 0 ? inside : inside.substring(0, comma));
        int max = comma < 0 ? min : comma == inside.length() - 1 ? -1 : count(inside.substring(comma + 1));
        if (max >= 0 && max < min) {
            throw error("the numbers of {" + inside + "} are out of order", at);
        }
        at = close + 1;
        return new int[] {min, max};
    }

    private int count(String digits) {
        if (digits.length() > 6 || Integer.parseInt(digits) > MAX_REPEAT) {
            throw error("a repetition of " + (digits.length() > 20 ? "that many" : digits) + "; at most " + MAX_REPEAT + " are allowed", at);
        }
        return Integer.parseInt(digits);
    }

    private Regex atom() {
        int start = at;
        int c = text.codePointAt(at);
        at += Character.charCount(c);
        return switch (c) {
            case '^' -> new Regex.Anchor(CharNfa.Where.AT_START);
            case '$' -> new Regex.Anchor(CharNfa.Where.AT_END);
            case '.' -> new Regex.Chars(CharClassParser.DOT);
            case '(' -> group(start);
            case '[' -> {
                CharSet set = classes.parse(at);
                at = classes.end();
                yield new Regex.Chars(set);
            }
            case '\\' -> escape(start);
            case '*', '+', '?' -> throw error("nothing to repeat", start);
            default -> new Regex.Chars(literal(c, start));
        };
    }

    private CharSet literal(int c, int start) {
        if (c >= 0xD800 && c <= 0xDFFF) {
            throw error("half of a surrogate pair", start);
        }
        return CharSet.of(c);
    }

    private Regex group(int start) {
        if (accept('?')) {
            if (accept(':')) {
                // A group without a number.
            } else if (text.startsWith("=", at) || text.startsWith("!", at) || text.startsWith("<=", at) || text.startsWith("<!", at)) {
                throw error("look-around is not supported", start);
            } else if (accept('<') || text.startsWith("P<", at) && (at += 2) > 0) {
                int close = text.indexOf('>', at);
                if (close <= at) {
                    throw error("a group's name is not closed", start);
                }
                at = close + 1;
            } else {
                throw error("this kind of group is not supported", start);
            }
        }
        Regex body = alternatives();
        if (!accept(')')) {
            throw error("a group is not closed", start);
        }
        return body;
    }

    private Regex escape(int start) {
        if (at == text.length()) {
            throw error("ends in a backslash", start);
        }
        char c = peek();
        switch (c) {
            case 'b', 'B' -> throw error("word boundaries are not supported", start);
            case 'A' -> {
                at++;
                return new Regex.Anchor(CharNfa.Where.AT_START);
            }
            case 'z', 'Z' -> {
                at++;
                return new Regex.Anchor(CharNfa.Where.AT_END);
            }
            case 'k' -> throw error("back references are not supported", start);
            default -> {
                if (c >= '1' && c <= '9') {
                    throw error("back references are not supported", start);
                }
            }
        }
        CharSet set = classes.escape(at);
        at = classes.end();
        return new Regex.Chars(set);
    }

    private char peek() {
        return text.charAt(at);
    }

    private boolean accept(char c) {
        if (at < text.length() && text.charAt(at) == c) {
            at++;
            return true;
        }
        return false;
    }

    private GrammarException error(String message, int position) {
        return new GrammarException("position " + position, message);
    }
}

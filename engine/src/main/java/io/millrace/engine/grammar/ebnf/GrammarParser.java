package io.millrace.engine.grammar.ebnf;

import io.millrace.engine.grammar.GrammarException;
import io.millrace.engine.grammar.automaton.CharSet;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * GBNF as llama.cpp reads it, and the EBNF of xgrammar that vLLM's clients send, as far as they agree: {@code name ::= alternatives}, texts in
 * double quotes, character classes, the dot, groups, {@code * + ? {n} {n,} {n,m}}, comments from {@code #}. A rule ends where the next
 * begins, so alternatives may go on in the next line.
 */
final class GrammarParser {
    static final int MAX_LENGTH = 200_000;
    private static final int MAX_DEPTH = 200;
    private static final int MAX_REPEAT = 10_000;

    private final String text;
    private int at;
    private int depth;

    private GrammarParser(String text) {
        this.text = text;
    }

    /** Rules by name, in order. */
    static Map<String, Expression> parse(String text) {
        if (text.length() > MAX_LENGTH) {
            throw new GrammarException("the grammar has " + text.length() + " characters; at most " + MAX_LENGTH + " are allowed");
        }
        GrammarParser parser = new GrammarParser(text);
        Map<String, Expression> rules = new LinkedHashMap<>();
        parser.skipSpace();
        while (parser.at < text.length()) {
            int start = parser.at;
            String name = parser.name();
            parser.skipSpace();
            if (name.isEmpty() || !text.startsWith("::=", parser.at)) {
                throw parser.error("a rule `name ::= ...` is expected", start);
            }
            parser.at += 3;
            parser.skipSpace();
            if (rules.putIfAbsent(name, parser.alternatives()) != null) {
                throw parser.error("the rule `" + name + "` is there twice", start);
            }
            if (parser.at < text.length() && !parser.atRule()) {
                throw parser.error("unexpected `" + Character.toString(text.codePointAt(parser.at)) + "`", parser.at);
            }
        }
        return rules;
    }

    private void skipSpace() {
        while (at < text.length()) {
            char c = text.charAt(at);
            if (c == '#') {
                int end = text.indexOf('\n', at);
                at = end < 0 ? text.length() : end;
            } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
                at++;
            } else {
                return;
            }
        }
    }

    private static boolean isNameChar(char c) {
        return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.';
    }

    private String name() {
        int start = at;
        if (at < text.length() && text.charAt(at) != '.') {
            while (at < text.length() && isNameChar(text.charAt(at)) && (text.charAt(at) != '.' || at > start)) {
                at++;
            }
        }
        return text.substring(start, at);
    }

    /** Whether a name and {@code ::=} follow. */
    private boolean atRule() {
        int before = at;
        boolean rule = !name().isEmpty();
        skipSpace();
        rule &= text.startsWith("::=", at);
        at = before;
        return rule;
    }

    private Expression alternatives() {
        if (++depth > MAX_DEPTH) {
            throw error("nested more than " + MAX_DEPTH + " levels deep", at);
        }
        List<Expression> options = new ArrayList<>();
        options.add(sequence());
        while (at < text.length() && text.charAt(at) == '|') {
            at++;
            skipSpace();
            options.add(sequence());
        }
        depth--;
        return options.size() == 1 ? options.getFirst() : new Expression.Either(options);
    }

    private Expression sequence() {
        List<Expression> parts = new ArrayList<>();
        while (at < text.length() && text.charAt(at) != '|' && text.charAt(at) != ')' && !atRule()) {
            Expression part = primary();
            parts.add(repeated(part));
            skipSpace();
        }
        return new Expression.Sequence(parts);
    }

    private Expression repeated(Expression body) {
        Expression part = body;
        while (at < text.length()) {
            char c = text.charAt(at);
            if (c == '*' || c == '+' || c == '?') {
                at++;
                part = new Expression.Repeat(part, c == '+' ? 1 : 0, c == '?' ? 1 : -1);
            } else if (c == '{') {
                int close = text.indexOf('}', at);
                String inside = close < 0 ? "" : text.substring(at + 1, close).replaceAll("\\s", "");
                if (!inside.matches("[0-9]{1,5}(,[0-9]{0,5})?")) {
                    throw error("a malformed repetition; {n}, {n,} or {n,m} is expected, each at most " + MAX_REPEAT, at);
                }
                int comma = inside.indexOf(',');
                int min = Integer.parseInt(comma < 0 ? inside : inside.substring(0, comma));
                int max = comma < 0 ? min : comma == inside.length() - 1 ? -1 : Integer.parseInt(inside.substring(comma + 1));
                if (min > MAX_REPEAT || max > MAX_REPEAT || max >= 0 && max < min) {
                    throw error("the repetition {" + inside + "} is out of order or above " + MAX_REPEAT, at);
                }
                at = close + 1;
                part = new Expression.Repeat(part, min, max);
            } else {
                break;
            }
        }
        return part;
    }

    private Expression primary() {
        int start = at;
        char c = text.charAt(at);
        switch (c) {
            case '"' -> {
                at++;
                List<Expression> chars = new ArrayList<>();
                while (true) {
                    if (at >= text.length()) {
                        throw error("a text is not closed", start);
                    }
                    if (text.charAt(at) == '"') {
                        at++;
                        return new Expression.Sequence(chars);
                    }
                    chars.add(new Expression.Chars(CharSet.of(character(start))));
                }
            }
            case '[' -> {
                return new Expression.Chars(charClass());
            }
            case '.' -> {
                at++;
                return new Expression.Chars(CharSet.ALL);
            }
            case '(' -> {
                at++;
                skipSpace();
                if (text.startsWith("=", at)) {
                    throw error("look-ahead is not supported", start);
                }
                Expression body = alternatives();
                if (at >= text.length() || text.charAt(at) != ')') {
                    throw error("a group is not closed", start);
                }
                at++;
                return body;
            }
            default -> {
                String name = name();
                if (name.isEmpty()) {
                    throw error("unexpected `" + Character.toString(text.codePointAt(start)) + "`", start);
                }
                return new Expression.Reference(name, start);
            }
        }
    }

    private CharSet charClass() {
        int start = at++;
        boolean negated = text.startsWith("^", at);
        at += negated ? 1 : 0;
        List<Integer> bounds = new ArrayList<>();
        while (true) {
            if (at >= text.length()) {
                throw error("a character class is not closed", start);
            }
            if (text.charAt(at) == ']') {
                at++;
                break;
            }
            int from = character(start);
            int to = from;
            if (at + 1 < text.length() && text.charAt(at) == '-' && text.charAt(at + 1) != ']') {
                at++;
                to = character(start);
            }
            if (to < from) {
                throw error("a range out of order", start);
            }
            bounds.add(from);
            bounds.add(to);
        }
        CharSet set = CharSet.ofRanges(bounds.stream().mapToInt(Integer::intValue).toArray());
        return negated ? set.complement() : set;
    }

    private int character(int start) {
        int c = text.codePointAt(at);
        at += Character.charCount(c);
        if (c != '\\') {
            if (c >= 0xD800 && c <= 0xDFFF) {
                throw error("half of a surrogate pair", start);
            }
            return c;
        }
        if (at >= text.length()) {
            throw error("ends in a backslash", at - 1);
        }
        char escape = text.charAt(at++);
        return switch (escape) {
            case 'n' -> '\n';
            case 'r' -> '\r';
            case 't' -> '\t';
            case '0' -> 0;
            case 'x' -> hex(2);
            case 'u' -> hex(4);
            case 'U' -> hex(8);
            default -> {
                if (Character.isLetterOrDigit(escape)) {
                    throw error("unknown escape \\" + escape, at - 2);
                }
                yield escape;
            }
        };
    }

    private int hex(int digits) {
        if (at + digits > text.length() || !text.substring(at, at + digits).matches("[0-9A-Fa-f]+")) {
            throw error("an escape needs " + digits + " hexadecimal digits", at - 2);
        }
        long c = Long.parseLong(text.substring(at, at + digits), 16);
        if (c > CharSet.MAX_CHAR || c >= 0xD800 && c <= 0xDFFF) {
            throw error("no character has the number " + Long.toHexString(c), at - 2);
        }
        at += digits;
        return (int) c;
    }

    private GrammarException error(String message, int position) {
        int line = 1 + (int) text.substring(0, Math.min(position, text.length())).chars().filter(c -> c == '\n').count();
        int column = position - text.lastIndexOf('\n', position - 1);
        return new GrammarException("line " + line + ", column " + column, message);
    }
}

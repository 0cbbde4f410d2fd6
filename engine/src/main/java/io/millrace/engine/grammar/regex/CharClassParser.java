package io.millrace.engine.grammar.regex;

import io.millrace.engine.grammar.GrammarException;
import io.millrace.engine.grammar.automaton.CharSet;
import io.millrace.engine.grammar.automaton.UnicodeProperty;
import java.util.ArrayList;
import java.util.List;

/** Escapes and bracketed classes of regular expressions, as sets. */
final class CharClassParser {
    static final CharSet DOT = CharSet.ofRanges('\n', '\n', '\r', '\r', 0x2028, 0x2029).complement();
    private static final CharSet DIGIT = CharSet.range('0', '9');
    private static final CharSet WORD = CharSet.ofRanges('a', 'z', 'A', 'Z', '0', '9', '_', '_');
    /** ECMA-262's WhiteSpace and LineTerminator. */
    private static final CharSet SPACE = CharSet.ofRanges('\t', '\r', ' ', ' ', 0xA0, 0xA0, 0x1680, 0x1680, 0x2000, 0x200A, 0x2028, 0x2029,
            0x202F, 0x202F, 0x205F, 0x205F, 0x3000, 0x3000, 0xFEFF, 0xFEFF);

    private final String text;
    private int at;
    /** Whether the last escape is one character, so that it may begin or end a range. */
    private boolean single;

    CharClassParser(String text) {
        this.text = text;
    }

    /** Where the last thing parsed ended. */
    int end() {
        return at;
    }

    /** From after the {@code [}. */
    CharSet parse(int from) {
        at = from;
        boolean negated = text.startsWith("^", at);
        if (negated) {
            at++;
        }
        List<CharSet> parts = new ArrayList<>();
        while (true) {
            if (at >= text.length()) {
                throw error("a character class is not closed", from - 1);
            }
            if (text.charAt(at) == ']') {
                at++;
                break;
            }
            int start = at;
            CharSet first = member();
            boolean ranged = single && at + 1 < text.length() && text.charAt(at) == '-' && text.charAt(at + 1) != ']';
            if (ranged) {
                int dash = at++;
                CharSet last = member();
                if (!single) {
                    // As in browsers: [a-\d] is a, - and the digits.
                    at = dash + 1;
                    parts.add(first);
                    parts.add(CharSet.of('-'));
                    continue;
                }
                if (first.from(0) > last.from(0)) {
                    throw error("a range out of order", start);
                }
                parts.add(CharSet.range(first.from(0), last.from(0)));
            } else {
                parts.add(first);
            }
        }
        CharSet union = CharSet.EMPTY;
        for (CharSet part : parts) {
            union = union.union(part);
        }
        return negated ? union.complement() : union;
    }

    private CharSet member() {
        if (text.charAt(at) == '\\') {
            return escapeAt(at + 1, true);
        }
        int c = text.codePointAt(at);
        single = true;
        if (c >= 0xD800 && c <= 0xDFFF) {
            throw error("half of a surrogate pair", at);
        }
        at += Character.charCount(c);
        return CharSet.of(c);
    }

    /** From after the backslash, outside of classes. */
    CharSet escape(int from) {
        return escapeAt(from, false);
    }

    private CharSet escapeAt(int from, boolean inClass) {
        at = from;
        if (at >= text.length()) {
            throw error("ends in a backslash", from - 1);
        }
        int c = text.codePointAt(at);
        at += Character.charCount(c);
        single = false;
        switch (c) {
            case 'd':
                return DIGIT;
            case 'D':
                return DIGIT.complement();
            case 'w':
                return WORD;
            case 'W':
                return WORD.complement();
            case 's':
                return SPACE;
            case 'S':
                return SPACE.complement();
            case 'p':
            case 'P':
                CharSet property = property(from - 1);
                return c == 'p' ? property : property.complement();
            default:
                single = true;
                return CharSet.of(character(c, from, inClass));
        }
    }

    private int character(int c, int from, boolean inClass) {
        return switch (c) {
            case 't' -> '\t';
            case 'n' -> '\n';
            case 'r' -> '\r';
            case 'f' -> '\f';
            case 'v' -> 0x0B;
            case '0' -> {
                if (at < text.length() && Character.isDigit(text.charAt(at))) {
                    throw error("octal escapes are not supported", from - 1);
                }
                yield 0;
            }
            case 'b' -> {
                if (!inClass) {
                    throw error("word boundaries are not supported", from - 1);
                }
                yield '\b';
            }
            case 'c' -> {
                if (at >= text.length() || !Character.toString(text.charAt(at)).matches("[A-Za-z]")) {
                    throw error("\\c without a letter", from - 1);
                }
                yield text.charAt(at++) % 32;
            }
            case 'x' -> hex(2, from);
            case 'u' -> unicode(from);
            default -> {
                if (Character.isLetterOrDigit(c) || c >= 0xD800 && c <= 0xDFFF) {
                    throw error("unknown escape \\" + Character.toString(c), from - 1);
                }
                yield c;
            }
        };
    }

    private int unicode(int from) {
        if (text.startsWith("{", at)) {
            int close = text.indexOf('}', at);
            String digits = close < 0 ? "" : text.substring(at + 1, close);
            if (!digits.matches("[0-9A-Fa-f]{1,8}")) {
                throw error("a malformed \\u{...}", from - 1);
            }
            at = close + 1;
            return scalar(Long.parseLong(digits, 16), from);
        }
        int unit = hex(4, from);
        if (Character.isHighSurrogate((char) unit) && text.startsWith("\\u", at)) {
            at += 2;
            int low = hex(4, from);
            if (Character.isLowSurrogate((char) low)) {
                return Character.toCodePoint((char) unit, (char) low);
            }
        }
        return scalar(unit, from);
    }

    private int scalar(long c, int from) {
        if (c > CharSet.MAX_CHAR || c >= 0xD800 && c <= 0xDFFF) {
            throw error("no character has the number " + Long.toHexString(c), from - 1);
        }
        return (int) c;
    }

    private int hex(int digits, int from) {
        if (at + digits > text.length() || !text.substring(at, at + digits).matches("[0-9A-Fa-f]+")) {
            throw error("an escape needs " + digits + " hexadecimal digits", from - 1);
        }
        at += digits;
        return Integer.parseInt(text.substring(at - digits, at), 16);
    }

    private CharSet property(int start) {
        int close = text.indexOf('}', at);
        if (!text.startsWith("{", at) || close < 0) {
            throw error("\\p needs a property in braces", start);
        }
        String name = text.substring(at + 1, close);
        at = close + 1;
        CharSet set = UnicodeProperty.of(name);
        if (set == null) {
            throw error("unknown Unicode property " + name, start);
        }
        return set;
    }

    private static GrammarException error(String message, int position) {
        return new GrammarException("position " + position, message);
    }
}

package io.millrace.engine.text.jinja;

/** Quoted strings in templates, with Python's escapes. */
final class StringLiterals {
    private StringLiterals() {}

    /** Just behind the closing quote of the literal that begins at {@code begin}, or -1. */
    static int end(String source, int begin) {
        char quote = source.charAt(begin);
        for (int i = begin + 1; i < source.length(); i++) {
            char c = source.charAt(i);
            if (c == '\\') {
                i++;
            } else if (c == quote) {
                return i + 1;
            }
        }
        return -1;
    }

    /** An unknown escape keeps its backslash, as in Python. */
    static String decode(String body) {
        if (body.indexOf('\\') < 0) {
            return body;
        }
        StringBuilder out = new StringBuilder(body.length());
        for (int i = 0; i < body.length(); i++) {
            char c = body.charAt(i);
            if (c != '\\' || i + 1 == body.length()) {
                out.append(c);
                continue;
            }
            char escape = body.charAt(++i);
            switch (escape) {
                case '\n' -> { }
                case 'n' -> out.append('\n');
                case 't' -> out.append('\t');
                case 'r' -> out.append('\r');
                case 'a' -> out.append('\u0007');
                case 'b' -> out.append('\b');
                case 'f' -> out.append('\f');
                case 'v' -> out.append('\u000B');
                case '\\', '\'', '"' -> out.append(escape);
                case 'x' -> i = hex(body, i, 2, out);
                case 'u' -> i = hex(body, i, 4, out);
                case 'U' -> i = hex(body, i, 8, out);
                case '0', '1', '2', '3', '4', '5', '6', '7' -> {
                    int end = i;
                    int value = 0;
                    while (end < body.length() && end < i + 3 && body.charAt(end) >= '0' && body.charAt(end) <= '7') {
                        value = value * 8 + body.charAt(end++) - '0';
                    }
                    out.append((char) value);
                    i = end - 1;
                }
                default -> out.append('\\').append(escape);
            }
        }
        return out.toString();
    }

    private static int hex(String body, int escape, int numDigits, StringBuilder out) {
        int end = escape + 1 + numDigits;
        if (end > body.length() || !body.substring(escape + 1, end).chars().allMatch(c -> Character.digit(c, 16) >= 0)) {
            throw new JinjaException(JinjaException.Kind.SYNTAX, "truncated \\" + body.charAt(escape) + " escape in a string");
        }
        long codePoint = Long.parseLong(body, escape + 1, end, 16);
        if (codePoint > Character.MAX_CODE_POINT) {
            throw new JinjaException(JinjaException.Kind.SYNTAX, "a string has an escape beyond U+10FFFF");
        }
        out.appendCodePoint((int) codePoint);
        return end - 1;
    }
}

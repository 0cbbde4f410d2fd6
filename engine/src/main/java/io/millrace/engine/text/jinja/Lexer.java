package io.millrace.engine.text.jinja;

import java.util.ArrayList;
import java.util.List;

/**
 * Splits a source into tokens under the settings of HF transformers: {@code trim_blocks} (the newline after a block tag goes),
 * {@code lstrip_blocks} (blanks between line start and a block tag go), one trailing newline dropped.
 */
final class Lexer {
    private static final String[] OPERATORS = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")",
        "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"};

    private final String source;
    private final List<Token> tokens = new ArrayList<>();
    private int position;
    private int line = 1;
    /** Whether {@link #position} follows a newline (consumed by a tag) or begins the source. */
    private boolean isAtLineStart = true;

    private Lexer(String source) {
        this.source = source;
    }

    static List<Token> lex(String source) {
        String normalized = source.replace("\r\n", "\n").replace('\r', '\n');
        if (normalized.endsWith("\n")) {
            normalized = normalized.substring(0, normalized.length() - 1);
        }
        Lexer lexer = new Lexer(normalized);
        lexer.run();
        return lexer.tokens;
    }

    private void run() {
        while (position < source.length()) {
            int tag = nextTag(position);
            if (tag < 0) {
                emitText(source.substring(position));
                break;
            }
            char opener = source.charAt(tag + 1);
            boolean isRaw = opener == '%' && isRawTag(tag, "raw");
            emitText(beforeTag(position, tag, opener != '{'));
            advanceTo(tag);
            if (isRaw) {
                raw();
            } else if (opener == '#') {
                comment();
            } else {
                code(opener == '%');
            }
        }
        add(Token.Kind.END, "");
    }

    private int nextTag(int from) {
        for (int i = source.indexOf('{', from); i >= 0 && i + 1 < source.length(); i = source.indexOf('{', i + 1)) {
            char next = source.charAt(i + 1);
            if (next == '{' || next == '%' || next == '#') {
                return i;
            }
        }
        return -1;
    }

    /** The text up to a tag, cut as its sign ({@code -} or {@code +}) and lstrip_blocks say. */
    private String beforeTag(int from, int tag, boolean isBlockOrComment) {
        String text = source.substring(from, tag);
        char sign = tag + 2 < source.length() ? source.charAt(tag + 2) : 0;
        if (sign == '-') {
            return text.substring(0, endWithoutSpace(text));
        }
        if (sign != '+' && isBlockOrComment) {
            int lineStart = text.lastIndexOf('\n') + 1;
            if ((lineStart > 0 || isAtLineStart) && text.substring(lineStart).chars().allMatch(Lexer::isSpace)) {
                return text.substring(0, lineStart);
            }
        }
        return text;
    }

    private static int endWithoutSpace(String text) {
        int end = text.length();
        while (end > 0 && isSpace(text.charAt(end - 1))) {
            end--;
        }
        return end;
    }

    private void emitText(String text) {
        if (!text.isEmpty()) {
            add(Token.Kind.TEXT, text);
        }
    }

    private void comment() {
        int close = source.indexOf("#}", position + 2);
        if (close < 0) {
            throw error("Missing end of comment tag");
        }
        char sign = close > position + 2 ? source.charAt(close - 1) : 0;
        closeTag(close + 2, sign, true);
    }

    private void code(boolean isBlock) {
        add(isBlock ? Token.Kind.BLOCK_BEGIN : Token.Kind.VARIABLE_BEGIN, "");
        String close = isBlock ? "%}" : "}}";
        advanceTo(position + 2);
        if (position < source.length() && (source.charAt(position) == '-' || source.charAt(position) == '+')) {
            advanceTo(position + 1);
        }
        List<Character> open = new ArrayList<>();
        while (true) {
            while (position < source.length() && isSpace(source.charAt(position))) {
                advanceTo(position + 1);
            }
            if (position >= source.length()) {
                throw error("unexpected end of template, a tag is not closed");
            }
            char c = source.charAt(position);
            boolean hasSign = c == '-' || c == '+' && isBlock;
            if (open.isEmpty() && source.startsWith(close, position + (hasSign ? 1 : 0))) {
                add(isBlock ? Token.Kind.BLOCK_END : Token.Kind.VARIABLE_END, "");
                closeTag(position + (hasSign ? 3 : 2), hasSign ? c : 0, isBlock);
                return;
            }
            expressionToken(c, open);
        }
    }

    /** @param end just behind the closing delimiter */
    private void closeTag(int end, char sign, boolean trimsNewline) {
        int next = end;
        if (sign == '-') {
            while (next < source.length() && isSpace(source.charAt(next))) {
                next++;
            }
        } else if (sign != '+' && trimsNewline && next < source.length() && source.charAt(next) == '\n') {
            next++;
        }
        isAtLineStart = source.charAt(next - 1) == '\n';
        advanceTo(next);
    }

    private boolean isRawTag(int tag, String name) {
        return rawTagClose(tag, name) >= 0;
    }

    /** Where the closing delimiter (with its sign) of a {@code {% raw %}} or {@code {% endraw %}} at {@code tag} begins, or -1. */
    private int rawTagClose(int tag, String name) {
        int i = tag + 2;
        if (i < source.length() && (source.charAt(i) == '-' || source.charAt(i) == '+')) {
            i++;
        }
        while (i < source.length() && isSpace(source.charAt(i))) {
            i++;
        }
        if (!source.startsWith(name, i)) {
            return -1;
        }
        i += name.length();
        while (i < source.length() && isSpace(source.charAt(i))) {
            i++;
        }
        boolean hasSign = i < source.length() && (source.charAt(i) == '-' || source.charAt(i) == '+');
        return source.startsWith("%}", hasSign ? i + 1 : i) ? i : -1;
    }

    private void raw() {
        int close = rawTagClose(position, "raw");
        char sign = source.charAt(close);
        // Unlike other blocks, raw keeps the newline behind its opening tag.
        closeTag(close + (sign == '%' ? 2 : 3), sign, false);
        int end = position;
        do {
            end = source.indexOf("{%", end);
            if (end < 0) {
                throw error("Missing end of raw directive");
            }
            close = rawTagClose(end++, "endraw");
        } while (close < 0);
        emitText(beforeTag(position, end - 1, true));
        sign = source.charAt(close);
        closeTag(close + (sign == '%' ? 2 : 3), sign, true);
    }

    private void expressionToken(char c, List<Character> open) {
        if (c == '\'' || c == '"') {
            int end = StringLiterals.end(source, position);
            if (end < 0) {
                throw error("unexpected char " + c + ", the string is not closed");
            }
            add(Token.Kind.STRING, StringLiterals.decode(source.substring(position + 1, end - 1)));
            advanceTo(end);
        } else if (c >= '0' && c <= '9') {
            number();
        } else if (Character.isUnicodeIdentifierStart(c) || c == '_') {
            int end = position + 1;
            while (end < source.length() && (Character.isUnicodeIdentifierPart(source.charAt(end)) && source.charAt(end) != 0)) {
                end++;
            }
            add(Token.Kind.NAME, source.substring(position, end));
            advanceTo(end);
        } else {
            operator(c, open);
        }
    }

    private void operator(char c, List<Character> open) {
        for (String operator : OPERATORS) {
            if (source.startsWith(operator, position)) {
                if (c == '(' || c == '[' || c == '{') {
                    open.add(c == '(' ? ')' : c == '[' ? ']' : '}');
                } else if (c == ')' || c == ']' || c == '}') {
                    if (open.isEmpty() || open.removeLast() != c) {
                        throw error("unexpected '" + c + "'");
                    }
                }
                add(Token.Kind.OPERATOR, operator);
                advanceTo(position + operator.length());
                return;
            }
        }
        throw error("unexpected char '" + c + "'");
    }

    private void number() {
        int end = digits(position);
        boolean isFloat = false;
        char second = end < source.length() ? source.charAt(end) : 0;
        if (end == position + 1 && source.charAt(position) == '0' && "xXoObB".indexOf(second) >= 0 && second != 0) {
            int prefixed = end + 1;
            while (prefixed < source.length() && (Character.digit(source.charAt(prefixed), 16) >= 0 || source.charAt(prefixed) == '_')) {
                prefixed++;
            }
            end = prefixed;
        } else {
            // "foo.0.bar": digits behind a dot are an index, never the start of a float.
            boolean isAfterDot = !tokens.isEmpty() && tokens.getLast().isOperator(".");
            if (!isAfterDot && second == '.' && end + 1 < source.length() && isDigit(source.charAt(end + 1))) {
                end = digits(end + 1);
                isFloat = true;
            }
            if (!isAfterDot && end < source.length() && (source.charAt(end) == 'e' || source.charAt(end) == 'E')) {
                int exponent = end + 1;
                if (exponent < source.length() && (source.charAt(exponent) == '+' || source.charAt(exponent) == '-')) {
                    exponent++;
                }
                if (exponent < source.length() && isDigit(source.charAt(exponent))) {
                    end = digits(exponent);
                    isFloat = true;
                }
            }
        }
        add(isFloat ? Token.Kind.FLOAT : Token.Kind.INTEGER, source.substring(position, end).replace("_", ""));
        advanceTo(end);
    }

    private int digits(int from) {
        int end = from;
        while (end < source.length() && (isDigit(source.charAt(end)) || source.charAt(end) == '_')) {
            end++;
        }
        return end;
    }

    private static boolean isDigit(char c) {
        return c >= '0' && c <= '9';
    }

    static boolean isSpace(int c) {
        return c == ' ' || c >= '\t' && c <= '\r' || c >= 0x1C && c <= 0x1F || c == 0x85 || c == 0xA0 || c > 0xFF && Character.isSpaceChar(c);
    }

    private void add(Token.Kind kind, String text) {
        tokens.add(new Token(kind, text, line));
    }

    private void advanceTo(int newPosition) {
        for (int i = position; i < newPosition; i++) {
            if (source.charAt(i) == '\n') {
                line++;
            }
        }
        position = newPosition;
    }

    private JinjaException error(String message) {
        return new JinjaException(JinjaException.Kind.SYNTAX, "line " + line + ": " + message);
    }
}

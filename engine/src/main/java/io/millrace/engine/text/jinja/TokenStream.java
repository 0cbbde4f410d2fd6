package io.millrace.engine.text.jinja;

import java.util.List;

/** A cursor over tokens, with the source's nesting bound. */
final class TokenStream {
    private final List<Token> tokens;
    private int position;
    private int depth;

    TokenStream(List<Token> tokens) {
        this.tokens = tokens;
    }

    Token current() {
        return tokens.get(position);
    }

    Token peek() {
        return tokens.get(Math.min(position + 1, tokens.size() - 1));
    }

    Token next() {
        Token token = current();
        if (token.kind() != Token.Kind.END) {
            position++;
        }
        return token;
    }

    boolean skipOperator(String sign) {
        return skipIf(current().isOperator(sign));
    }

    boolean skipName(String name) {
        return skipIf(current().isName(name));
    }

    private boolean skipIf(boolean matches) {
        if (matches) {
            next();
        }
        return matches;
    }

    Token expect(Token.Kind kind) {
        if (current().kind() != kind) {
            throw unexpected("expected " + new Token(kind, kind.name().toLowerCase(java.util.Locale.ROOT), 0).describe());
        }
        return next();
    }

    void expectOperator(String sign) {
        if (!skipOperator(sign)) {
            throw unexpected("expected '" + sign + "'");
        }
    }

    void expectName(String name) {
        if (!skipName(name)) {
            throw unexpected("expected '" + name + "'");
        }
    }

    JinjaException unexpected(String expectation) {
        return error(expectation + ", got " + current().describe());
    }

    JinjaException error(String message) {
        return new JinjaException(JinjaException.Kind.SYNTAX, "line " + current().line() + ": " + message);
    }

    void enter() {
        if (++depth > Budget.MAX_PARSE_DEPTH) {
            throw JinjaException.limit("levels of nesting in the source", Budget.MAX_PARSE_DEPTH);
        }
    }

    void leave() {
        depth--;
    }
}

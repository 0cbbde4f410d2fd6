package io.millrace.engine.text.jinja;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** Statements: the tags that chat templates use. Inheritance, include and import are refused, there is nothing to load from. */
final class Parser {
    private final TokenStream tokens;
    private final Set<String> namesRead = new HashSet<>();
    private final ExpressionParser expressions;
    private int numOpenLoops;

    private Parser(String source) {
        tokens = new TokenStream(Lexer.lex(source));
        expressions = new ExpressionParser(tokens, namesRead);
    }

    static List<Node> parse(String source) {
        if (source.length() > Budget.MAX_SOURCE_CHARS) {
            throw JinjaException.limit("characters of source", Budget.MAX_SOURCE_CHARS);
        }
        return new Parser(source).body(null);
    }

    /** Statements up to one of the {@code ends} tags, whose name stays the current token; to the end of the source for null. */
    private List<Node> body(Set<String> ends) {
        tokens.enter();
        List<Node> nodes = new ArrayList<>();
        while (true) {
            Token token = tokens.next();
            switch (token.kind()) {
                case TEXT -> nodes.add(new Node.Text(token.text()));
                case VARIABLE_BEGIN -> {
                    nodes.add(new Node.Print(expressions.tupleOrExpression(true), token.line()));
                    tokens.expect(Token.Kind.VARIABLE_END);
                }
                case BLOCK_BEGIN -> {
                    if (ends != null && tokens.current().kind() == Token.Kind.NAME && ends.contains(tokens.current().text())) {
                        tokens.leave();
                        return List.copyOf(nodes);
                    }
                    nodes.add(statement());
                    tokens.expect(Token.Kind.BLOCK_END);
                }
                default -> {
                    if (ends != null) {
                        throw tokens.error("unexpected end of template, looking for '" + String.join("' or '", ends.stream().sorted().toList()) + "'");
                    }
                    tokens.leave();
                    return List.copyOf(nodes);
                }
            }
        }
    }

    /** Closes the opening tag, reads the body and stands behind the name of the tag that ends it. */
    private List<Node> bodyUntil(String end) {
        tokens.expect(Token.Kind.BLOCK_END);
        List<Node> body = body(Set.of(end));
        tokens.expectName(end);
        return body;
    }

    private Node statement() {
        Token tag = tokens.expect(Token.Kind.NAME);
        return switch (tag.text()) {
            case "if" -> ifStatement(tag.line());
            case "for" -> forStatement(tag.line());
            case "set" -> setStatement(tag.line());
            case "macro" -> macro();
            case "call" -> callBlock(tag.line());
            case "filter" -> new Node.FilterBlock(filterChain(), bodyUntil("endfilter"), tag.line());
            case "with" -> with(tag.line());
            case "generation" -> new Node.Group(bodyUntil("endgeneration"));
            case "break", "continue" -> loopControl(tag.text());
            default -> throw tokens.error("Encountered unknown tag '" + tag.text() + "'.");
        };
    }

    private Node loopControl(String name) {
        if (numOpenLoops == 0) {
            throw tokens.error("'" + name + "' outside loop");
        }
        return name.equals("break") ? new Node.Break() : new Node.Continue();
    }

    private Node ifStatement(int line) {
        List<Expr> conditions = new ArrayList<>();
        List<List<Node>> bodies = new ArrayList<>();
        conditions.add(expressions.tupleOrExpression(true));
        while (true) {
            tokens.expect(Token.Kind.BLOCK_END);
            boolean isElse = conditions.getLast() == null;
            bodies.add(body(isElse ? Set.of("endif") : Set.of("elif", "else", "endif")));
            String end = tokens.next().text();
            if (end.equals("endif")) {
                return new Node.If(conditions, bodies, line);
            }
            conditions.add(end.equals("else") ? null : expressions.tupleOrExpression(true));
        }
    }

    private Node forStatement(int line) {
        Node.Target target = target(false);
        tokens.expectName("in");
        Expr iterable = expressions.tupleOrExpression(false);
        Expr filter = tokens.skipName("if") ? expressions.expression() : null;
        boolean recursive = tokens.skipName("recursive");
        tokens.expect(Token.Kind.BLOCK_END);
        numOpenLoops++;
        List<Node> body = body(Set.of("endfor", "else"));
        numOpenLoops--;
        List<Node> otherwise = tokens.skipName("else") ? bodyUntil("endfor") : List.of();
        if (otherwise.isEmpty()) {
            tokens.skipName("endfor");
        }
        return new Node.For(target, iterable, filter, recursive, body, otherwise, line);
    }

    private Node setStatement(int line) {
        Node.Target target = target(true);
        if (tokens.skipOperator("=")) {
            return new Node.Set(target, expressions.tupleOrExpression(true), line);
        }
        List<Expr.Filter> filters = tokens.skipOperator("|") ? filterChain() : List.of();
        return new Node.SetBlock(target, filters, bodyUntil("endset"), line);
    }

    /** {@code name(args) | name ...} behind a tag; the first is applied first. */
    private List<Expr.Filter> filterChain() {
        List<Expr.Filter> filters = new ArrayList<>();
        do {
            filters.add(expressions.filterName(null));
        } while (tokens.skipOperator("|"));
        return filters;
    }

    private Node.Target target(boolean withNamespace) {
        List<Node.Target> targets = new ArrayList<>();
        boolean isTuple = false;
        do {
            if (!targets.isEmpty() && (tokens.current().isName("in") || tokens.current().isOperator("="))) {
                break;
            }
            targets.add(singleTarget(withNamespace));
            isTuple |= tokens.current().isOperator(",");
        } while (tokens.skipOperator(","));
        return isTuple ? new Node.TupleTarget(targets) : targets.getFirst();
    }

    private Node.Target singleTarget(boolean withNamespace) {
        if (tokens.skipOperator("(")) {
            tokens.enter();
            Node.Target inner = target(withNamespace);
            tokens.leave();
            tokens.expectOperator(")");
            return inner;
        }
        String name = tokens.expect(Token.Kind.NAME).text();
        if (Set.of("true", "false", "none", "True", "False", "None").contains(name)) {
            throw tokens.error("can't assign to '" + name + "'");
        }
        if (withNamespace && tokens.skipOperator(".")) {
            return new Node.AttributeTarget(name, tokens.expect(Token.Kind.NAME).text());
        }
        return new Node.NameTarget(name);
    }

    private Node with(int line) {
        List<Node.Target> targets = new ArrayList<>();
        List<Expr> values = new ArrayList<>();
        while (tokens.current().kind() != Token.Kind.BLOCK_END) {
            if (!targets.isEmpty()) {
                tokens.expectOperator(",");
            }
            targets.add(singleTarget(false));
            tokens.expectOperator("=");
            values.add(expressions.expression());
        }
        return new Node.With(targets, values, bodyUntil("endwith"), line);
    }

    private Node.Macro macro() {
        return macroWith(tokens.expect(Token.Kind.NAME).text(), "endmacro");
    }

    private Node callBlock(int line) {
        // The parameters of {% call(x) macro() %} are those of the block, which the macro calls as caller(x).
        List<String> parameters = new ArrayList<>();
        List<Expr> defaults = new ArrayList<>();
        if (tokens.current().isOperator("(")) {
            parameters(parameters, defaults);
        }
        if (!(expressions.expression() instanceof Expr.Call call)) {
            throw tokens.error("expected call");
        }
        return new Node.CallBlock(call, macroBody("caller", parameters, defaults, "endcall"), line);
    }

    private Node.Macro macroWith(String name, String end) {
        List<String> parameters = new ArrayList<>();
        List<Expr> defaults = new ArrayList<>();
        parameters(parameters, defaults);
        return macroBody(name, parameters, defaults, end);
    }

    private void parameters(List<String> parameters, List<Expr> defaults) {
        tokens.expectOperator("(");
        while (!tokens.current().isOperator(")")) {
            if (!parameters.isEmpty()) {
                tokens.expectOperator(",");
            }
            parameters.add(tokens.expect(Token.Kind.NAME).text());
            if (tokens.skipOperator("=")) {
                defaults.add(expressions.expression());
            } else if (!defaults.isEmpty() && defaults.getLast() != null) {
                throw tokens.error("non-default argument follows default argument");
            } else {
                defaults.add(null);
            }
        }
        tokens.expectOperator(")");
    }

    private Node.Macro macroBody(String name, List<String> parameters, List<Expr> defaults, String end) {
        Set<String> outer = new HashSet<>(namesRead);
        namesRead.clear();
        int outerLoops = numOpenLoops;
        numOpenLoops = 0;
        List<Node> body = bodyUntil(end);
        numOpenLoops = outerLoops;
        Node.Macro macro = new Node.Macro(name, parameters, defaults, body, namesRead.contains("varargs"), namesRead.contains("kwargs"),
                namesRead.contains("caller"));
        namesRead.addAll(outer);
        return macro;
    }
}

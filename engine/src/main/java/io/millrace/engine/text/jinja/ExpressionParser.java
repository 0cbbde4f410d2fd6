package io.millrace.engine.text.jinja;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/** Expressions by recursive descent, one method per level of Jinja2's precedence, weakest first. */
final class ExpressionParser {
    private static final Set<String> COMPARISONS = Set.of("==", "!=", "<", "<=", ">", ">=");
    private static final Set<Token.Kind> OPERAND_KINDS = Set.of(Token.Kind.NAME, Token.Kind.STRING, Token.Kind.INTEGER, Token.Kind.FLOAT);

    private final TokenStream tokens;
    private final Set<String> namesRead;

    /** @param namesRead collects every variable that an expression names */
    ExpressionParser(TokenStream tokens, Set<String> namesRead) {
        this.tokens = tokens;
        this.namesRead = namesRead;
    }

    Expr expression() {
        return conditional(true);
    }

    /** One expression, or several with commas between, which make a tuple. */
    Expr tupleOrExpression(boolean withConditional) {
        Expr first = conditional(withConditional);
        if (!tokens.current().isOperator(",")) {
            return first;
        }
        List<Expr> items = new ArrayList<>(List.of(first));
        while (tokens.skipOperator(",")) {
            if (endsTuple()) {
                break;
            }
            items.add(conditional(withConditional));
        }
        return new Expr.TupleLiteral(items);
    }

    private boolean endsTuple() {
        Token token = tokens.current();
        return token.kind() == Token.Kind.BLOCK_END || token.kind() == Token.Kind.VARIABLE_END || token.isOperator(")");
    }

    private Expr conditional(boolean withConditional) {
        tokens.enter();
        Expr value = or();
        while (withConditional && tokens.skipName("if")) {
            Expr condition = or();
            Expr otherwise = tokens.skipName("else") ? conditional(true) : null;
            value = new Expr.Conditional(condition, value, otherwise);
        }
        tokens.leave();
        return value;
    }

    private Expr or() {
        Expr left = and();
        while (tokens.skipName("or")) {
            left = new Expr.Or(left, and());
        }
        return left;
    }

    private Expr and() {
        Expr left = not();
        while (tokens.skipName("and")) {
            left = new Expr.And(left, not());
        }
        return left;
    }

    private Expr not() {
        if (!tokens.skipName("not")) {
            return comparison();
        }
        tokens.enter();
        Expr operand = not();
        tokens.leave();
        return new Expr.Not(operand);
    }

    private Expr comparison() {
        Expr first = sum();
        List<String> operators = new ArrayList<>();
        List<Expr> operands = new ArrayList<>();
        while (true) {
            Token token = tokens.current();
            if (token.kind() == Token.Kind.OPERATOR && COMPARISONS.contains(token.text())) {
                operators.add(tokens.next().text());
            } else if (tokens.skipName("in")) {
                operators.add("in");
            } else if (token.isName("not") && tokens.peek().isName("in")) {
                tokens.next();
                tokens.next();
                operators.add("not in");
            } else {
                return operators.isEmpty() ? first : new Expr.Compare(first, operators, operands);
            }
            operands.add(sum());
        }
    }

    private Expr sum() {
        Expr left = concat();
        while (tokens.current().isOperator("+") || tokens.current().isOperator("-")) {
            left = new Expr.Binary(tokens.next().text(), left, concat());
        }
        return left;
    }

    private Expr concat() {
        Expr first = product();
        if (!tokens.current().isOperator("~")) {
            return first;
        }
        List<Expr> parts = new ArrayList<>(List.of(first));
        while (tokens.skipOperator("~")) {
            parts.add(product());
        }
        return new Expr.Concat(parts);
    }

    private Expr product() {
        Expr left = power();
        while (isProduct(tokens.current())) {
            left = new Expr.Binary(tokens.next().text(), left, power());
        }
        return left;
    }

    private static boolean isProduct(Token token) {
        return token.kind() == Token.Kind.OPERATOR && (token.text().equals("*") || token.text().equals("/") || token.text().equals("//")
                || token.text().equals("%"));
    }

    private Expr power() {
        Expr left = unary(true);
        while (tokens.skipOperator("**")) {
            left = new Expr.Binary("**", left, unary(true));
        }
        return left;
    }

    /** A sign binds tighter than a filter: {@code -42|abs} is 42. */
    private Expr unary(boolean withFilters) {
        tokens.enter();
        Expr value;
        if (tokens.current().isOperator("-") || tokens.current().isOperator("+")) {
            value = new Expr.Unary(tokens.next().text(), unary(false));
        } else {
            value = primary();
        }
        value = postfix(value);
        value = withFilters ? filters(value) : value;
        tokens.leave();
        return value;
    }

    private Expr primary() {
        Token token = tokens.current();
        switch (token.kind()) {
            case NAME -> {
                tokens.next();
                return switch (token.text()) {
                    case "true", "True" -> new Expr.Literal(true);
                    case "false", "False" -> new Expr.Literal(false);
                    case "none", "None" -> new Expr.Literal(null);
                    default -> {
                        namesRead.add(token.text());
                        yield new Expr.Name(token.text());
                    }
                };
            }
            case STRING -> {
                StringBuilder text = new StringBuilder();
                while (tokens.current().kind() == Token.Kind.STRING) {
                    text.append(tokens.next().text());
                }
                return new Expr.Literal(text.toString());
            }
            case INTEGER -> {
                tokens.next();
                return new Expr.Literal(integer(token.text()));
            }
            case FLOAT -> {
                tokens.next();
                return new Expr.Literal(Double.valueOf(token.text()));
            }
            default -> {
                return bracketed(token);
            }
        }
    }

    private Object integer(String digits) {
        try {
            int radix = digits.length() < 3 ? 10 : switch (digits.charAt(1)) {
                case 'x', 'X' -> 16;
                case 'o', 'O' -> 8;
                case 'b', 'B' -> 2;
                default -> 10;
            };
            // Beyond the digits of any sensible number, parsing itself would take long.
            if (digits.length() > 400) {
                throw tokens.error("a number has more than 400 digits");
            }
            return Numbers.normalized(new BigInteger(radix == 10 ? digits : digits.substring(2), radix));
        } catch (NumberFormatException e) {
            throw tokens.error("'" + digits + "' is not a number");
        }
    }

    private Expr bracketed(Token token) {
        if (tokens.skipOperator("(")) {
            if (tokens.skipOperator(")")) {
                return new Expr.TupleLiteral(List.of());
            }
            Expr value = tupleOrExpression(true);
            tokens.expectOperator(")");
            return value;
        }
        if (tokens.skipOperator("[")) {
            List<Expr> items = new ArrayList<>();
            while (!tokens.current().isOperator("]")) {
                items.add(expression());
                if (!tokens.skipOperator(",")) {
                    break;
                }
            }
            tokens.expectOperator("]");
            return new Expr.ListLiteral(items);
        }
        if (tokens.skipOperator("{")) {
            List<Expr> keys = new ArrayList<>();
            List<Expr> values = new ArrayList<>();
            while (!tokens.current().isOperator("}")) {
                keys.add(expression());
                tokens.expectOperator(":");
                values.add(expression());
                if (!tokens.skipOperator(",")) {
                    break;
                }
            }
            tokens.expectOperator("}");
            return new Expr.DictLiteral(keys, values);
        }
        throw tokens.error("unexpected " + token.describe());
    }

    private Expr postfix(Expr target) {
        Expr value = target;
        while (true) {
            if (tokens.skipOperator(".")) {
                Token name = tokens.next();
                value = switch (name.kind()) {
                    case NAME -> new Expr.Attribute(value, name.text());
                    case INTEGER -> new Expr.Item(value, new Expr.Literal(integer(name.text())));
                    default -> throw tokens.error("expected name or number behind '.'");
                };
            } else if (tokens.skipOperator("[")) {
                value = new Expr.Item(value, subscript());
            } else if (tokens.current().isOperator("(")) {
                value = new Expr.Call(value, arguments());
            } else {
                return value;
            }
        }
    }

    private Expr subscript() {
        List<Expr> parts = new ArrayList<>();
        while (!tokens.current().isOperator("]")) {
            if (!parts.isEmpty()) {
                tokens.expectOperator(",");
            }
            parts.add(slicePart());
        }
        tokens.expectOperator("]");
        return parts.size() == 1 ? parts.getFirst() : new Expr.TupleLiteral(parts);
    }

    private Expr slicePart() {
        Expr begin = null;
        if (!tokens.current().isOperator(":")) {
            begin = expression();
            if (!tokens.current().isOperator(":")) {
                return begin;
            }
        }
        tokens.expectOperator(":");
        Expr end = endsSlicePart() ? null : expression();
        Expr step = tokens.skipOperator(":") && !endsSlicePart() ? expression() : null;
        return new Expr.Slice(begin, end, step);
    }

    private boolean endsSlicePart() {
        Token token = tokens.current();
        return token.isOperator(":") || token.isOperator("]") || token.isOperator(",");
    }

    Expr.Arguments arguments() {
        tokens.expectOperator("(");
        List<Expr> positional = new ArrayList<>();
        List<String> names = new ArrayList<>();
        List<Expr> named = new ArrayList<>();
        Expr star = null;
        Expr doubleStar = null;
        while (!tokens.current().isOperator(")")) {
            if (tokens.skipOperator("*")) {
                star = expression();
            } else if (tokens.skipOperator("**")) {
                doubleStar = expression();
            } else if (tokens.current().kind() == Token.Kind.NAME && tokens.peek().isOperator("=")) {
                names.add(tokens.next().text());
                tokens.next();
                named.add(expression());
            } else if (!names.isEmpty() || star != null || doubleStar != null) {
                throw tokens.error("positional argument behind a named one");
            } else {
                positional.add(expression());
            }
            if (!tokens.skipOperator(",")) {
                break;
            }
        }
        tokens.expectOperator(")");
        return new Expr.Arguments(positional, names, named, star, doubleStar);
    }

    private Expr filters(Expr target) {
        Expr value = target;
        while (true) {
            if (tokens.current().isOperator("|")) {
                value = filter(value);
            } else if (tokens.skipName("is")) {
                value = test(value);
            } else if (tokens.current().isOperator("(")) {
                value = new Expr.Call(value, arguments());
            } else {
                return value;
            }
        }
    }

    /** {@code | name(arguments)} over {@code target}. */
    Expr.Filter filter(Expr target) {
        tokens.expectOperator("|");
        return filterName(target);
    }

    Expr.Filter filterName(Expr target) {
        String name = tokens.expect(Token.Kind.NAME).text();
        if (!Filters.isKnown(name)) {
            throw tokens.error("No filter named '" + name + "'.");
        }
        return new Expr.Filter(target, name, tokens.current().isOperator("(") ? arguments() : Expr.Arguments.NONE);
    }

    private Expr test(Expr target) {
        boolean negated = tokens.skipName("not");
        String name = tokens.expect(Token.Kind.NAME).text();
        if (!Tests.isKnown(name)) {
            throw tokens.error("No test named '" + name + "'.");
        }
        Token token = tokens.current();
        Expr.Arguments arguments = Expr.Arguments.NONE;
        if (token.isOperator("(")) {
            arguments = arguments();
        } else if (startsOperand(token)) {
            arguments = new Expr.Arguments(List.of(postfix(primary())), List.of(), List.of(), null, null);
        }
        return new Expr.Test(target, name, arguments, negated);
    }

    /** {@code x is divisibleby 3}: one argument may go without parentheses. */
    private static boolean startsOperand(Token token) {
        boolean isConnective = token.isName("else") || token.isName("or") || token.isName("and") || token.isName("if");
        return OPERAND_KINDS.contains(token.kind()) && !isConnective || token.isOperator("[") || token.isOperator("{");
    }
}

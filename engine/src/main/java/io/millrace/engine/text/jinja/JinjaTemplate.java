package io.millrace.engine.text.jinja;

import java.time.Clock;
import java.util.List;
import java.util.Map;

/**
 * A compiled template. Thread-safe: renderings share only the syntax tree.
 *
 * <p>Semantics are those of Jinja2 3.1 in HF transformers' environment: immutable sandbox, {@code trim_blocks}, {@code lstrip_blocks}, loop
 * controls, {@code {% generation %}}, {@code tojson}, {@code raise_exception}, {@code strftime_now}.
 */
public final class JinjaTemplate {
    private final List<Node> nodes;
    private final Clock clock;

    private JinjaTemplate(List<Node> nodes, Clock clock) {
        this.nodes = nodes;
        this.clock = clock;
    }

    /** @throws JinjaException if the source is malformed, too long or too deep */
    public static JinjaTemplate compile(String source) {
        return compile(source, Clock.systemDefaultZone());
    }

    /** @param clock what {@code strftime_now} reads */
    public static JinjaTemplate compile(String source, Clock clock) {
        try {
            return new JinjaTemplate(Parser.parse(source), clock);
        } catch (StackOverflowError e) {
            throw JinjaException.limit("levels of nesting in the source", Budget.MAX_PARSE_DEPTH);
        }
    }

    /**
     * @param variables values as parsed from JSON (maps, iterables, strings, numbers, booleans, null); copied, never changed
     * @throws JinjaException if the template fails, refuses or exceeds a bound
     */
    public String render(Map<String, ?> variables) {
        Interpreter interpreter = new Interpreter();
        Scope globals = new Scope(null);
        Globals.define(globals, clock, interpreter.budget());
        try {
            variables.forEach((name, value) -> globals.set(name, Values.copyOf(value, 0)));
            return interpreter.render(nodes, new Scope(globals));
        } catch (JinjaException e) {
            throw e;
        } catch (RuntimeException e) {
            // Templates are data: what the evaluator does not foresee is still the template's failure, not the caller's.
            throw JinjaException.type("the template cannot be evaluated: " + e);
        } catch (StackOverflowError e) {
            // The depth bound comes first on any usual stack; a caller on a very small one is told the same.
            throw JinjaException.limit("nested evaluations", Budget.MAX_DEPTH);
        }
    }
}

package io.millrace.engine.text.jinja;

import java.util.ArrayList;
import java.util.List;

/** Runs statements for one rendering and owns its output. */
final class Interpreter {
    /** How a list of statements ended. */
    private enum Flow { NEXT, BREAK, CONTINUE }

    private final Budget budget = new Budget();
    private final Evaluator evaluator = new Evaluator(budget);
    private StringBuilder out = new StringBuilder();

    Budget budget() {
        return budget;
    }

    String render(List<Node> nodes, Scope scope) {
        run(nodes, scope);
        return out.toString();
    }

    Object evaluate(Expr expression, Scope scope) {
        return evaluator.evaluate(expression, scope);
    }

    /** What {@code body} prints, kept from the output. */
    String capture(List<Node> body, Scope scope) {
        StringBuilder outer = out;
        out = new StringBuilder();
        try {
            run(body, scope);
            return out.toString();
        } finally {
            out = outer;
        }
    }

    private Flow run(List<Node> nodes, Scope scope) {
        for (Node node : nodes) {
            budget.enter();
            Flow flow = run(node, scope);
            budget.leave();
            if (flow != Flow.NEXT) {
                return flow;
            }
        }
        return Flow.NEXT;
    }

    private Flow run(Node node, Scope scope) {
        switch (node) {
            case Node.Text text -> print(text.text());
            case Node.Print print -> print(Printer.str(evaluate(print.expression(), scope), budget));
            case Node.If branch -> {
                return branch(branch, scope);
            }
            case Node.For loop -> forEach(loop, scope, evaluate(loop.iterable(), scope), 0);
            case Node.Set set -> assign(set.target(), evaluate(set.value(), scope), scope);
            case Node.SetBlock set -> assign(set.target(), filtered(set.filters(), capture(set.body(), new Scope(scope)), scope), scope);
            case Node.FilterBlock block ->
                    print(Printer.str(filtered(block.filters(), capture(block.body(), new Scope(scope)), scope), budget));
            case Node.Macro macro -> scope.set(macro.name(), new Macro(macro, scope, this));
            case Node.CallBlock block -> callBlock(block, scope);
            case Node.With with -> {
                Scope inner = new Scope(scope);
                for (int i = 0; i < with.targets().size(); i++) {
                    assign(with.targets().get(i), evaluate(with.values().get(i), scope), inner);
                }
                return run(with.body(), inner);
            }
            case Node.Group group -> {
                return run(group.body(), scope);
            }
            case Node.Break _ -> {
                return Flow.BREAK;
            }
            case Node.Continue _ -> {
                return Flow.CONTINUE;
            }
        }
        return Flow.NEXT;
    }

    private void print(String text) {
        budget.charge((long) text.length() + (out.length() + text.length() > Budget.MAX_CHARS ? Budget.MAX_CHARS : 0));
        out.append(text);
    }

    private Flow branch(Node.If branch, Scope scope) {
        for (int i = 0; i < branch.bodies().size(); i++) {
            Expr condition = branch.conditions().get(i);
            if (condition == null || Evaluator.isTrue(evaluate(condition, scope))) {
                return run(branch.bodies().get(i), scope);
            }
        }
        return Flow.NEXT;
    }

    private void forEach(Node.For node, Scope scope, Object iterable, int depth) {
        List<?> items = Values.iterate(iterable);
        budget.charge(items.size());
        if (node.filter() != null) {
            List<Object> kept = new ArrayList<>();
            for (Object item : items) {
                Scope inner = new Scope(scope);
                assign(node.target(), item, inner);
                if (Evaluator.isTrue(evaluate(node.filter(), inner))) {
                    kept.add(item);
                }
            }
            items = kept;
        }
        if (items.isEmpty()) {
            run(node.otherwise(), new Scope(scope));
            return;
        }
        Callable recursion = !node.recursive() ? null : args -> {
            StringBuilder outer = out;
            out = new StringBuilder();
            budget.enter();
            try {
                forEach(node, scope, Args.required(args.bind("loop", "iterable")[0], "loop", "iterable"), depth + 1);
                return out.toString();
            } finally {
                budget.leave();
                out = outer;
            }
        };
        // A list can lose elements while its loop runs (pop), which must not break the iteration.
        List<?> visited = new ArrayList<>(items);
        Loop loop = new Loop(visited, depth, recursion, budget);
        for (Object item : visited) {
            loop.advance();
            Scope inner = new Scope(scope);
            inner.set("loop", loop);
            assign(node.target(), item, inner);
            if (run(node.body(), inner) == Flow.BREAK) {
                break;
            }
        }
    }

    private void assign(Node.Target target, Object value, Scope scope) {
        switch (target) {
            case Node.NameTarget name -> scope.set(name.name(), value);
            case Node.AttributeTarget attribute -> {
                if (!(scope.get(attribute.namespace()) instanceof Namespace namespace)) {
                    throw JinjaException.type("cannot assign attribute on non-namespace object");
                }
                namespace.attributes.put(attribute.attribute(), value);
            }
            case Node.TupleTarget tuple -> {
                List<?> values = Values.iterate(value);
                int expected = tuple.targets().size();
                if (values.size() != expected) {
                    throw JinjaException.type(values.size() < expected
                            ? "not enough values to unpack (expected " + expected + ", got " + values.size() + ")"
                            : "too many values to unpack (expected " + expected + ")");
                }
                for (int i = 0; i < expected; i++) {
                    assign(tuple.targets().get(i), values.get(i), scope);
                }
            }
        }
    }

    private Object filtered(List<Expr.Filter> filters, String text, Scope scope) {
        Object value = text;
        for (Expr.Filter filter : filters) {
            value = Filters.apply(filter.name(), value, evaluator.arguments(filter.arguments(), scope), evaluator);
        }
        return value;
    }

    private void callBlock(Node.CallBlock block, Scope scope) {
        Args args = evaluator.arguments(block.call().arguments(), scope);
        var named = new java.util.LinkedHashMap<>(args.named());
        named.put("caller", new Macro(block.caller(), scope, this));
        Object value = evaluator.call(evaluate(block.call().target(), scope), new Args(args.positional(), named));
        print(Printer.str(value, budget));
    }
}

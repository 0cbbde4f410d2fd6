package io.millrace.engine.text.jinja;

import java.time.Clock;
import java.util.Map;

/** The functions that every template finds: Jinja2's own and those that HF transformers adds. */
final class Globals {
    private Globals() {}

    static void define(Scope scope, Clock clock, Budget budget) {
        scope.set("range", (Callable) Globals::range);
        scope.set("namespace", (Callable) args -> {
            Namespace namespace = new Namespace();
            into(args, (key, value) -> namespace.attributes.put(Args.string(key, "namespace"), value));
            return namespace;
        });
        scope.set("dict", (Callable) args -> {
            Dict dict = new Dict();
            into(args, dict::put);
            return dict;
        });
        scope.set("raise_exception", (Callable) args -> {
            throw new JinjaException(JinjaException.Kind.RAISED, Printer.str(args.bind("raise_exception", "message")[0], budget));
        });
        scope.set("strftime_now", (Callable) args -> {
            String format = Args.string(args.bind("strftime_now", "format")[0], "strftime_now");
            budget.charge(format.length() * 16L);
            return Strftime.format(format, java.time.ZonedDateTime.now(clock));
        });
        scope.set("joiner", (Callable) args -> {
            Object separator = Args.orElse(args.bind("joiner", "sep")[0], ", ");
            boolean[] isUsed = {false};
            return (Callable) _ -> {
                Object value = isUsed[0] ? separator : "";
                isUsed[0] = true;
                return value;
            };
        });
    }

    /** At most one mapping, then named values, as {@code dict(...)} takes them. */
    private static void into(Args args, java.util.function.BiConsumer<Object, Object> put) {
        if (args.positional().size() > 1) {
            throw JinjaException.type("expected at most 1 argument, got " + args.positional().size());
        }
        if (!args.positional().isEmpty()) {
            if (!(args.positional().getFirst() instanceof Map<?, ?> map)) {
                throw JinjaException.type("'" + Values.typeName(args.positional().getFirst()) + "' object is not a mapping");
            }
            map.forEach(put);
        }
        args.named().forEach(put);
    }

    private static Object range(Args args) {
        Object[] a = args.bind("range", "start", "stop", "step");
        long first = Args.integer(Args.required(a[0], "range", "stop"), 0, "range");
        return a[1] == Args.MISSING ? new Range(0, first, 1)
                : new Range(first, Args.integer(a[1], 0, "range"), Args.integer(a[2], 1, "range"));
    }
}

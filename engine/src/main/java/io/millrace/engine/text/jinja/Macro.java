package io.millrace.engine.text.jinja;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** A {@code {% macro %}}, bound to the scope it stands in. Its value is the text it prints. */
final class Macro implements Callable {
    private final Node.Macro definition;
    private final Scope scope;
    private final Interpreter interpreter;

    Macro(Node.Macro definition, Scope scope, Interpreter interpreter) {
        this.definition = definition;
        this.scope = scope;
        this.interpreter = interpreter;
    }

    String name() {
        return definition.name();
    }

    @Override
    public Object call(Args args) {
        Scope inner = new Scope(scope);
        List<String> parameters = definition.parameters();
        Map<String, Object> named = new HashMap<>(args.named());
        int numPositional = args.positional().size();
        for (int i = 0; i < parameters.size(); i++) {
            String parameter = parameters.get(i);
            if (i < numPositional) {
                if (named.containsKey(parameter)) {
                    throw JinjaException.type("macro '" + name() + "' got multiple values for argument '" + parameter + "'");
                }
                inner.set(parameter, args.positional().get(i));
            } else if (named.containsKey(parameter)) {
                inner.set(parameter, named.remove(parameter));
            } else if (definition.defaults().get(i) != null) {
                inner.set(parameter, interpreter.evaluate(definition.defaults().get(i), inner));
            } else {
                inner.set(parameter, new Undefined(JinjaException.Kind.UNDEFINED, "parameter '" + parameter + "' was not provided"));
            }
        }
        if (named.containsKey("caller") || definition.usesCaller()) {
            inner.set("caller", named.containsKey("caller") ? named.remove("caller") : Undefined.variable("caller"));
        }
        if (definition.usesKwargs()) {
            inner.set("kwargs", new java.util.LinkedHashMap<Object, Object>(named));
        } else if (!named.isEmpty()) {
            throw JinjaException.type("macro '" + name() + "' takes no keyword argument '" + named.keySet().iterator().next() + "'");
        }
        if (definition.usesVarargs()) {
            inner.set("varargs", new Tuple(new ArrayList<>(args.positional().subList(Math.min(parameters.size(), numPositional), numPositional))));
        } else if (numPositional > parameters.size()) {
            throw JinjaException.type("macro '" + name() + "' takes not more than " + parameters.size() + " argument(s)");
        }
        return interpreter.capture(definition.body(), inner);
    }
}

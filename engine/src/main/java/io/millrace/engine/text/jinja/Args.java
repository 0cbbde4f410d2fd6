package io.millrace.engine.text.jinja;

import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** Evaluated arguments of a call. */
record Args(List<Object> positional, Map<String, Object> named) {
    static final Args NONE = new Args(List.of(), Map.of());
    /** Marks a parameter that was not given, which is not the same as none. */
    static final Object MISSING = new Object();

    /** The arguments by parameter, in the order of {@code parameters}. */
    Object[] bind(String function, String... parameters) {
        if (positional.size() > parameters.length) {
            throw JinjaException.type(function + "() takes " + parameters.length + " arguments but " + positional.size() + " were given");
        }
        Object[] values = new Object[parameters.length];
        Arrays.fill(values, MISSING);
        for (int i = 0; i < positional.size(); i++) {
            values[i] = positional.get(i);
        }
        for (var entry : named.entrySet()) {
            int index = Arrays.asList(parameters).indexOf(entry.getKey());
            if (index < 0) {
                throw JinjaException.type(function + "() got an unexpected keyword argument '" + entry.getKey() + "'");
            }
            if (values[index] != MISSING) {
                throw JinjaException.type(function + "() got multiple values for argument '" + entry.getKey() + "'");
            }
            values[index] = entry.getValue();
        }
        return values;
    }

    static Object orElse(Object value, Object fallback) {
        return value == MISSING ? fallback : value;
    }

    static Object required(Object value, String function, String parameter) {
        if (value == MISSING) {
            throw JinjaException.type(function + "() missing 1 required positional argument: '" + parameter + "'");
        }
        return value;
    }

    static long integer(Object value, long fallback, String function) {
        if (value == MISSING) {
            return fallback;
        }
        if (value instanceof Boolean b) {
            return b ? 1 : 0;
        }
        if (value instanceof Long number) {
            return number;
        }
        throw Values.undefinedOr(value, () -> JinjaException.type(function + "() needs an integer, not '" + Values.typeName(value) + "'"));
    }

    /** {@code null} for a missing or none argument. */
    static String stringOrNull(Object value, String function) {
        if (value == MISSING || value == null) {
            return null;
        }
        String text = Values.textOrNull(value);
        if (text == null) {
            throw Values.undefinedOr(value, () -> JinjaException.type(function + "() argument must be str, not " + Values.typeName(value)));
        }
        return text;
    }

    static String string(Object value, String function) {
        String text = stringOrNull(value, function);
        if (text == null) {
            throw JinjaException.type(function + "() argument must be str, not " + (value == MISSING ? "missing" : "NoneType"));
        }
        return text;
    }
}

package io.millrace.engine.text.jinja;

/** The value of what does not exist: false, empty and printable, but an error to call, to look into or to compute with. */
record Undefined(JinjaException.Kind kind, String message) {
    static Undefined variable(String name) {
        return new Undefined(JinjaException.Kind.UNDEFINED, "'" + name + "' is undefined");
    }

    static Undefined attribute(Object target, String name) {
        return new Undefined(JinjaException.Kind.UNDEFINED, "'" + objectName(target) + "' has no attribute '" + name + "'");
    }

    static Undefined item(Object target, String index) {
        return new Undefined(JinjaException.Kind.UNDEFINED, objectName(target) + " has no element " + index);
    }

    /** An attribute that exists in Python but would change a value that the renderer does not own. */
    static Undefined unsafe(Object target, String name) {
        return new Undefined(JinjaException.Kind.SECURITY,
                "access to attribute '" + name + "' of '" + Values.typeName(target) + "' object is unsafe.");
    }

    JinjaException exception() {
        return new JinjaException(kind, message);
    }

    private static String objectName(Object target) {
        return target == null ? "None" : Values.typeName(target) + " object";
    }
}

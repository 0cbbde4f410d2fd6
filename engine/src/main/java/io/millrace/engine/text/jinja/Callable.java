package io.millrace.engine.text.jinja;

/** A macro, a global function or a method bound to its value. */
@FunctionalInterface
interface Callable {
    Object call(Args args);
}

package io.millrace.server.cli;

import java.lang.System.Logger.Level;
import java.lang.reflect.Proxy;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.IntSupplier;

/**
 * SIGTERM and SIGINT: the first one ends the process in order, through its shutdown hooks, the second one at once. By itself the JVM
 * would ignore the second: its hooks are running already.
 *
 * <p>{@code sun.misc.Signal} is the only way to a signal in Java. It is asked for by name, since the compiler warns of every other use;
 * where it is missing, or the JVM was started with {@code -Xrs}, the first signal does what the JVM does and there is no second.
 */
final class EndSignals {
    private static final System.Logger LOG = System.getLogger("io.millrace.server");

    private EndSignals() {}

    /** @param numOpen requests that a second signal cuts off */
    static void install(IntSupplier numOpen) {
        AtomicBoolean ending = new AtomicBoolean();
        try {
            Class<?> signal = Class.forName("sun.misc.Signal");
            Class<?> handlerType = Class.forName("sun.misc.SignalHandler");
            Object handler = Proxy.newProxyInstance(handlerType.getClassLoader(), new Class<?>[] {handlerType}, (proxy, method, arguments) -> {
                if (!method.getName().equals("handle")) {
                    return method.invoke(EndSignals.class, arguments); // equals, hashCode, toString
                }
                end(128 + (int) signal.getMethod("getNumber").invoke(arguments[0]), ending, numOpen);
                return null;
            });
            for (String name : List.of("TERM", "INT")) {
                signal.getMethod("handle", signal, handlerType).invoke(null, signal.getConstructor(String.class).newInstance(name), handler);
            }
        } catch (ReflectiveOperationException | IllegalArgumentException e) {
            LOG.log(Level.DEBUG, "signals are left to the JVM", e);
        }
    }

    /** On a thread of its own, which the JVM makes for each signal. */
    private static void end(int exitCode, AtomicBoolean ending, IntSupplier numOpen) {
        if (ending.compareAndSet(false, true)) {
            System.exit(exitCode);
        }
        LOG.log(Level.WARNING, "second signal: ended at once, " + numOpen.getAsInt() + " requests cut off");
        Runtime.getRuntime().halt(exitCode);
    }
}

package io.millrace.server.openai;

import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;

/**
 * Wakes one reader thread. Raising costs the engine thread one volatile read while the reader is busy; only a sleeping reader is woken.
 */
final class Signal {
    private final Thread reader;
    private volatile boolean asleep;

    /** @param reader the only thread that may {@link #await} */
    Signal(Thread reader) {
        this.reader = reader;
    }

    /** Any thread. What the reader shall see must have been written (volatile) before. */
    void raise() {
        if (asleep) {
            asleep = false;
            LockSupport.unpark(reader);
        }
    }

    /** Returns when {@code ready} holds, after {@code nanos}, or early for no reason. */
    void await(BooleanSupplier ready, long nanos) {
        asleep = true;
        // Checked after announcing the sleep: a raise between check and park leaves a permit, so none is lost.
        if (!ready.getAsBoolean()) {
            LockSupport.parkNanos(this, nanos);
        }
        asleep = false;
    }
}

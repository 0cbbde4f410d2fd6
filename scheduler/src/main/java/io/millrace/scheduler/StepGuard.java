package io.millrace.scheduler;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Supplier;

/**
 * Who may touch scheduler state and sinks. The engine thread, except while it is inside a call into the engine, where it touches
 * neither: then another thread may take its place for a moment, to look or to end requests that the engine keeps waiting. The engine
 * thread pays one exchange on the way in and one on the way out.
 *
 * <pre>
 *   OWN ──enter──► INSIDE ──take──► TAKEN        leave waits while the state is TAKEN
 *    ▲───leave──────┘  ▲───give back───┘
 * </pre>
 */
final class StepGuard {
    private static final int OWN = 0;
    private static final int INSIDE = 1;
    private static final int TAKEN = 2;
    private static final long WAIT_NANOS = 100_000;

    private final AtomicInteger state = new AtomicInteger(OWN);

    /** Before a call into the engine. Engine thread. */
    void enter() {
        state.set(INSIDE);
    }

    /** After it, however it ended. Engine thread. */
    void leave() {
        while (!state.compareAndSet(INSIDE, OWN)) {
            // Whoever took the place is writing a report, some milliseconds.
            LockSupport.parkNanos(this, WAIT_NANOS);
        }
    }

    /** Runs {@code look} in the engine thread's place; null if that thread is not inside the engine. Any thread but that one. */
    <T> T inItsPlace(Supplier<T> look) {
        if (!state.compareAndSet(INSIDE, TAKEN)) {
            return null;
        }
        try {
            return look.get();
        } finally {
            state.set(INSIDE);
        }
    }
}

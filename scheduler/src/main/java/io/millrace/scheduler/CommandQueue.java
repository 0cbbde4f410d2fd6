package io.millrace.scheduler;

import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;

/**
 * Hand-over from many threads to the engine thread: a lock-free stack (Treiber, 1986) that the consumer takes whole with one exchange
 * and turns round into order of arrival. Closing is an exchange too, so a command is either taken or refused, never lost.
 */
final class CommandQueue {
    /** Something for the engine thread to do. Each object is pushed once. */
    abstract static class Command {
        private Command next;

        /** Runs on the engine thread. */
        abstract void run();

        /**
         * Runs instead of {@link #run}, in the place of an engine thread that does not return: nothing may be freed then. What
         * it leaves undone must be of no consequence once every request has been told its end. A command that thread had taken already
         * is run as well when it is back.
         */
        void runDuringStep() {}

        /** Runs on the engine thread instead of {@link #run} if the loop ended before. */
        abstract void refuse();

        final Command next() {
            return next;
        }
    }

    private static final Command CLOSED = new Command() {
        @Override
        void run() {}

        @Override
        void refuse() {}
    };

    private final AtomicReference<Command> top = new AtomicReference<>();
    private volatile boolean parked;
    private volatile Thread consumer;

    /** Names the one thread that takes commands. */
    void setConsumer(Thread thread) {
        consumer = thread;
    }

    /** @return false if the queue is closed: the command will not run */
    boolean push(Command command) {
        Command seen;
        do {
            seen = top.get();
            if (seen == CLOSED) {
                return false;
            }
            command.next = seen;
        } while (!top.compareAndSet(seen, command));
        wake();
        return true;
    }

    void wake() {
        if (parked) {
            LockSupport.unpark(consumer);
        }
    }

    /** All commands pushed so far, oldest first, linked by {@link Command#next}; null if there are none or it is closed. Consumer only. */
    Command takeAll() {
        Command seen = top.get();
        // Once closed it stays so: who stands in for the consumer may come after the end.
        return seen == null || seen == CLOSED ? null : reverse(top.getAndSet(null));
    }

    /** Takes what is left and refuses whatever comes later. Consumer only. */
    Command close() {
        Command rest = top.getAndSet(CLOSED);
        return rest == CLOSED ? null : reverse(rest);
    }

    /** Parks until there is a command or {@link #wake} is called; may also return early. Consumer only. */
    void await() {
        // The flag is up before the look: a producer that pushes after the look sees the flag and unparks.
        parked = true;
        if (top.get() == null) {
            LockSupport.park(this);
        }
        parked = false;
    }

    private static Command reverse(Command newest) {
        Command oldest = null;
        while (newest != null) {
            Command next = newest.next;
            newest.next = oldest;
            oldest = newest;
            newest = next;
        }
        return oldest;
    }
}

package io.millrace.engine;

import java.util.concurrent.locks.LockSupport;
import java.util.function.IntConsumer;

/**
 * Runs submitted steps, one after the other, on a thread of its own, while the engine thread plans the next. Two slots: one step runs, one
 * is ready to follow it without a gap. One thread submits and awaits.
 *
 * <pre>
 *   engine thread   | plan n+1, submit | await n ......... | settle n, plan n+2, submit | await n+1 ...
 *   runner                | step n ........................ | step n+1 ...................................
 * </pre>
 *
 * Allocates nothing per step. Waiting costs nothing but a short spin after each step, since the next is usually there already.
 */
final class StepRunner implements AutoCloseable {
    /** Of some 10 ns each, before the runner parks: about the time that it takes to wake a thread. */
    private static final int SPINS = 2000;

    private final IntConsumer run;
    private final Thread thread;
    private final Thread owner = Thread.currentThread();
    private volatile long numSubmitted;
    private volatile long numDone;
    private volatile boolean parked;
    private volatile boolean closing;
    private volatile Throwable failure;

    /** Started by the thread that will submit. @param run runs the step of a slot, 0 or 1, and returns when it is done */
    StepRunner(IntConsumer run) {
        this.run = run;
        thread = Thread.ofPlatform().name("millrace-runner").daemon().start(this::loop);
    }

    long threadId() {
        return thread.threadId();
    }

    /** The slot of the next step to be submitted. It is free if all but one of the steps before have been awaited. */
    int nextSlot() {
        return (int) (numSubmitted & 1);
    }

    /** Everything written before is visible to the step. @return its ticket */
    long submit() {
        long ticket = numSubmitted;
        numSubmitted = ticket + 1;
        if (parked) {
            LockSupport.unpark(thread);
        }
        return ticket;
    }

    /**
     * Waits for the step of {@code ticket}.
     *
     * @return its slot
     * @throws RuntimeException or Error what it, or one before it, ended with
     */
    int await(long ticket) {
        while (numDone <= ticket && failure == null) {
            LockSupport.park(this);
        }
        if (numDone <= ticket) {
            switch (failure) {
                case Error error -> throw error;
                case RuntimeException exception -> throw exception;
                case Throwable other -> throw new IllegalStateException(other);
            }
        }
        return (int) (ticket & 1);
    }

    private void loop() {
        for (long next = 0; awaitWork(next); ) {
            try {
                run.accept((int) (next & 1));
                numDone = ++next;
            } catch (Throwable t) {
                failure = t;
                return;
            } finally {
                LockSupport.unpark(owner);
            }
        }
    }

    /** @return false if there will be no more */
    private boolean awaitWork(long next) {
        for (int spins = 0; numSubmitted == next; spins++) {
            if (closing) {
                return false;
            }
            if (spins < SPINS) {
                Thread.onSpinWait();
            } else {
                // The flag is up before the look: who submits after the look sees the flag.
                parked = true;
                if (numSubmitted == next && !closing) {
                    LockSupport.park(this);
                }
                parked = false;
            }
        }
        return true;
    }

    /** After the steps that were submitted; waits for the end of the thread. */
    @Override
    public void close() {
        closing = true;
        LockSupport.unpark(thread);
        boolean interrupted = false;
        while (thread.isAlive()) {
            try {
                thread.join();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}

package io.millrace.scheduler;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;

/**
 * Sees that steps advance while there is work. An engine that hangs keeps its process alive and its port open, so nothing else would
 * notice. Each incident is reported once, with all that is known of the engine thread, and once more when it is over. A sink that keeps
 * the engine thread is interrupted then. If the incident lasts three times as long, the requests are ended in the engine thread's place.
 *
 * <p><b>How long is too long.</b> The longer of the step timeout and ten times the slowest step of late: a machine whose steps take ten
 * seconds is slow, not stuck. A step counts as one step timeout at most, or a stall that passed would hide the next one for ten times as long. Time in which the watchdog itself did not run (a suspended process, a machine that was paged out) is not
 * held against the engine.
 */
final class Watchdog {
    /** What the watchdog looks at and does; implemented by the engine loop. */
    interface Patient {
        /** How long there has been work without a finished step; 0 without work. */
        long stalledNanos(long now);

        /** Changes with every finished step. */
        long numSteps();

        /** The slowest step of late; 0 before the first. */
        long slowestStepNanos();

        /** What queue, running requests and the step in progress are, in lines. */
        String describe();

        /**
         * Interrupts the engine thread if it is in somebody else's code, a sink or the listener.
         *
         * @return in whose, in words; null if it is not
         */
        String interruptCall();

        /**
         * Ends every request with an error if work still stands still for as long. False if it does not, or if the engine thread is
         * not inside the engine or a sink, where alone it can be replaced.
         */
        boolean abandon(long stalledNanos, String message);
    }

    private static final System.Logger LOG = System.getLogger("io.millrace.scheduler");
    private static final int SLOWEST_FACTOR = 10;
    private static final int ABANDON_FACTOR = 3;
    private static final int MAX_FRAMES = 24;
    private static final int MAX_FOREIGN_FRAMES = 6;
    private static final int MAX_THREADS = 24;

    private final Patient patient;
    private final long stepTimeoutNanos;
    private final long intervalNanos;
    private final Thread watched;

    private long lastLook;
    private long excusedNanos;
    private long stepsSeen = -1;
    private long incidentSteps;
    private boolean abandoned;
    private boolean helpless;
    private volatile String stall;

    /** @param watched the engine thread */
    Watchdog(Patient patient, Duration stepTimeout, Thread watched, long now) {
        this.patient = patient;
        this.stepTimeoutNanos = stepTimeout.toNanos();
        this.intervalNanos = Math.clamp(stepTimeoutNanos / 8, 1_000_000L, 5_000_000_000L);
        this.watched = watched;
        this.lastLook = now;
    }

    /** Why health fails; null while steps advance or there is nothing to do. Any thread. */
    String stall() {
        return stall;
    }

    long intervalNanos() {
        return intervalNanos;
    }

    /** To be called every {@link #intervalNanos}, by one thread. */
    void look(long now) {
        long steps = patient.numSteps();
        long stalled = patient.stalledNanos(now);
        long gap = now - lastLook;
        lastLook = now;
        if (stalled == 0 || steps != stepsSeen) {
            stepsSeen = steps;
            excusedNanos = 0;
        } else if (gap > 4 * intervalNanos) {
            excusedNanos += gap - intervalNanos;
        }
        stalled = Math.max(0, stalled - excusedNanos);
        long limit = Math.max(stepTimeoutNanos, SLOWEST_FACTOR * Math.min(patient.slowestStepNanos(), stepTimeoutNanos));
        if (stall == null && stalled > limit) {
            report(stalled, limit, steps);
        } else if (stall != null && (stalled == 0 || steps != incidentSteps)) {
            stall = null;
            abandoned = false;
            helpless = false;
            LOG.log(System.Logger.Level.WARNING, "SCH-018: steps advance again" + (stalled == 0 ? "" : "; " + steps + " since the start"));
        }
        if (stall != null && stalled > ABANDON_FACTOR * limit) {
            abandon(stalled);
        }
    }

    private void report(long stalled, long limit, long steps) {
        incidentSteps = steps;
        stall = "no step has finished for " + seconds(stalled) + " s while there is work; the limit is " + seconds(limit)
                + " s (the longer of --step-timeout and ten times the slowest step of late)";
        StringBuilder text = new StringBuilder(8192).append("SCH-018: ").append(stall).append(". /health fails until one does; after ")
                .append(seconds(ABANDON_FACTOR * limit)).append(" s all requests are ended with an error.\n").append(patient.describe());
        appendThreads(text);
        LOG.log(System.Logger.Level.ERROR, text.toString());
        String callee = patient.interruptCall();
        if (callee != null) {
            LOG.log(System.Logger.Level.ERROR, "SCH-018: the engine thread has been interrupted in " + callee
                    + ", which has not returned; should that end it, nobody else is harmed");
        }
    }

    /** Again at each look: requests may have come in since. */
    private void abandon(long stalled) {
        boolean done = patient.abandon(stalled, "SCH-019: no step has finished for " + seconds(stalled)
                + " s, and the request was given up; the server's log has the state of the engine");
        if (done && !abandoned) {
            LOG.log(System.Logger.Level.ERROR, "SCH-019: no step has finished for " + seconds(stalled)
                    + " s; all requests have been ended with an error and new ones are refused until a step ends. If that does not happen, "
                    + "restart the server");
        } else if (!done && !helpless && !abandoned) {
            LOG.log(System.Logger.Level.ERROR, "SCH-019: the engine thread hangs outside of the engine and of sinks (see its stack above), and its "
                    + "requests cannot be ended in its place; restart the server");
            helpless = true;
        }
        abandoned |= done;
    }

    /** The engine thread first, then those that have something to do with serving; of each the top frames. */
    private void appendThreads(StringBuilder text) {
        List<Map.Entry<Thread, StackTraceElement[]>> all = new ArrayList<>(Thread.getAllStackTraces().entrySet());
        all.removeIf(entry -> entry.getValue().length == 0 || entry.getKey() == Thread.currentThread() && entry.getKey() != watched);
        all.sort(Comparator.comparing((Map.Entry<Thread, StackTraceElement[]> entry) -> entry.getKey() != watched)
                .thenComparing(entry -> !entry.getKey().getName().startsWith("millrace")).thenComparing(entry -> entry.getKey().getName()));
        for (Map.Entry<Thread, StackTraceElement[]> entry : all.subList(0, Math.min(MAX_THREADS, all.size()))) {
            Thread thread = entry.getKey();
            text.append("\n  thread ").append(thread.getName()).append(", ").append(thread.getState());
            StackTraceElement[] frames = entry.getValue();
            int limit = thread == watched || thread.getName().startsWith("millrace") ? MAX_FRAMES : MAX_FOREIGN_FRAMES;
            for (int i = 0; i < Math.min(limit, frames.length); i++) {
                text.append("\n    at ").append(frames[i]);
            }
        }
    }

    private static String seconds(long nanos) {
        return nanos < 10_000_000_000L ? String.format(java.util.Locale.ROOT, "%.1f", nanos / 1e9) : Long.toString(nanos / 1_000_000_000L);
    }
}

package io.millrace.scheduler;

import io.millrace.engine.StepResult;
import java.util.function.Function;

/**
 * Every call from the engine thread into other people's code: sinks and the listener. Whatever they throw ends here, out of memory
 * included: a sink that throws costs its own request, a listener that throws is dropped.
 *
 * <p><b>One that does not return.</b> Its callee stands in {@link #calling} while a call lasts, and the scheduler's state is whole during all of
 * them: another thread may then do something in the engine thread's place ({@link #duringCall}), which does not get past the end of the
 * call meanwhile. The engine thread pays two plain writes and a read for that, and no barrier: the thread that looks raises
 * {@link #attention}, then has the JVM stop the engine thread for a moment (as every stack trace of a running thread does), so that
 * either it sees the call, or the engine thread sees the flag behind it.
 */
final class RequestEvents {
    private static final System.Logger LOG = System.getLogger("io.millrace.scheduler");

    private volatile SchedulerListener listener;
    /** The request whose sink, or the listener that is being called by the engine thread; null between calls. */
    private Object calling;
    /** Somebody looks at the call under way, or has interrupted it. */
    private volatile boolean attention;
    private final Object place = new Object();

    RequestEvents(SchedulerListener listener) {
        this.listener = listener;
    }

    private void enter(Object callee) {
        calling = callee;
    }

    private void leave() {
        calling = null;
        if (attention) {
            attend();
        }
    }

    private void attend() {
        synchronized (place) {
            attention = false;
            // Meant for the callee, which may have returned all the same.
            Thread.interrupted();
        }
    }

    /**
     * Runs {@code look} in the engine thread's place, with who is being called, in words; null if nobody is. Any thread but that one.
     */
    <T> T duringCall(Thread engineThread, Function<String, T> look) {
        synchronized (place) {
            attention = true;
            engineThread.getStackTrace();
            Object callee = calling;
            return callee == null ? null : look.apply(callee instanceof RequestState request ? "the sink of " + request : "the metrics listener");
        }
    }

    /** @return false if the sink failed */
    boolean promptScored(RequestState request, int firstPosition, int count, StepResult result, int firstRow) {
        if (request.toldEnd) {
            return false;
        }
        enter(request);
        try {
            request.sink.onPromptScored(firstPosition, count, result, firstRow);
            return true;
        } catch (Throwable t) {
            log("the sink of " + request + " failed and the request is aborted", t);
            return false;
        } finally {
            leave();
        }
    }

    /** @return false if the sink failed */
    boolean token(RequestState request, int tokenId, StepResult result, int row, long now) {
        if (request.toldEnd) {
            return false;
        }
        boolean isFirst = request.numOutputTokens() == 1;
        long since = now - (isFirst ? request.arrivalNanos : request.lastTokenNanos);
        if (isFirst) {
            request.firstTokenNanos = now;
        }
        request.lastTokenNanos = now;
        tellToken(isFirst, since);
        if (request.toldEnd) {
            // While the listener kept this thread.
            return false;
        }
        enter(request);
        try {
            request.sink.onToken(tokenId, result, row);
            return true;
        } catch (Throwable t) {
            log("the sink of " + request + " failed and the request is aborted", t);
            return false;
        } finally {
            leave();
        }
    }

    private void tellToken(boolean isFirst, long since) {
        SchedulerListener callee = listener;
        enter(callee);
        try {
            if (isFirst) {
                callee.onFirstToken(since);
            } else {
                callee.onNextToken(since);
            }
        } catch (Throwable t) {
            dropListener(t);
        } finally {
            leave();
        }
    }

    /** Does nothing for a request that was told its end already. */
    void finished(RequestState request, FinishReason reason, int stopTokenId, String message) {
        if (request.toldEnd) {
            return;
        }
        request.toldEnd = true;
        SchedulerListener callee = listener;
        enter(callee);
        try {
            endInMetrics(callee, request, reason);
        } finally {
            leave();
        }
        enter(request);
        try {
            endAtSink(request, reason, stopTokenId, message);
        } finally {
            leave();
        }
    }

    /** The same in the engine thread's place; nothing for the request whose sink keeps it. */
    void finishedInItsPlace(RequestState request, FinishReason reason, String message) {
        Object callee = calling;
        if (callee == request || request.toldEnd) {
            return;
        }
        request.toldEnd = true;
        if (callee != null && callee == listener) {
            // It would keep this thread, too.
            listener = SchedulerListener.NONE;
        }
        endInMetrics(listener, request, reason);
        endAtSink(request, reason, -1, message);
    }

    private void endInMetrics(SchedulerListener callee, RequestState request, FinishReason reason) {
        try {
            callee.onFinished(request, reason);
        } catch (Throwable t) {
            dropListener(t);
        }
    }

    private static void endAtSink(RequestState request, FinishReason reason, int stopTokenId, String message) {
        try {
            request.sink.onFinish(reason, stopTokenId, message);
        } catch (Throwable t) {
            log("the sink of " + request + " failed at its end", t);
        }
    }

    void admitted(long queueNanos) {
        SchedulerListener callee = listener;
        enter(callee);
        try {
            callee.onAdmitted(queueNanos);
        } catch (Throwable t) {
            dropListener(t);
        } finally {
            leave();
        }
    }

    void prefilled(RequestState request) {
        SchedulerListener callee = listener;
        enter(callee);
        try {
            callee.onPrefilled(request);
        } catch (Throwable t) {
            dropListener(t);
        } finally {
            leave();
        }
    }

    void preempted(boolean fruitless) {
        SchedulerListener callee = listener;
        enter(callee);
        try {
            callee.onPreempted(fruitless);
        } catch (Throwable t) {
            dropListener(t);
        } finally {
            leave();
        }
    }

    void step(StepStats stats) {
        SchedulerListener callee = listener;
        enter(callee);
        try {
            callee.onStep(stats);
        } catch (Throwable t) {
            dropListener(t);
        } finally {
            leave();
        }
    }

    /** On any thread. */
    void rejected(RejectedException.Kind kind) {
        try {
            listener.onRejected(kind);
        } catch (Throwable t) {
            dropListener(t);
        }
    }

    private void dropListener(Throwable t) {
        listener = SchedulerListener.NONE;
        log("the metrics listener failed and is not called again", t);
    }

    /** Logs unless even that fails: with memory exhausted, serving goes before reporting. */
    static void log(String message, Throwable t) {
        try {
            LOG.log(System.Logger.Level.ERROR, message, t);
        } catch (Throwable again) {
            // Nothing is left to report with.
        }
    }
}

package io.millrace.scheduler;

import io.millrace.engine.StepResult;

/**
 * Every call from the engine thread into other people's code: sinks and the listener. Whatever they throw ends here, out of memory
 * included: a sink that throws costs its own request, a listener that throws is dropped.
 */
final class RequestEvents {
    private static final System.Logger LOG = System.getLogger("io.millrace.scheduler");

    private volatile SchedulerListener listener;

    RequestEvents(SchedulerListener listener) {
        this.listener = listener;
    }

    /** @return false if the sink failed */
    boolean promptScored(RequestState request, int firstPosition, int count, StepResult result, int firstRow) {
        try {
            request.sink.onPromptScored(firstPosition, count, result, firstRow);
            return true;
        } catch (Throwable t) {
            log("the sink of " + request + " failed and the request is aborted", t);
            return false;
        }
    }

    /** @return false if the sink failed */
    boolean token(RequestState request, int tokenId, StepResult result, int row, long now) {
        boolean isFirst = request.numOutputTokens() == 1;
        long since = now - (isFirst ? request.arrivalNanos : request.lastTokenNanos);
        if (isFirst) {
            request.firstTokenNanos = now;
        }
        request.lastTokenNanos = now;
        try {
            if (isFirst) {
                listener.onFirstToken(since);
            } else {
                listener.onNextToken(since);
            }
        } catch (Throwable t) {
            dropListener(t);
        }
        try {
            request.sink.onToken(tokenId, result, row);
            return true;
        } catch (Throwable t) {
            log("the sink of " + request + " failed and the request is aborted", t);
            return false;
        }
    }

    /** Does nothing for a request that was told its end already. */
    void finished(RequestState request, FinishReason reason, int stopTokenId, String message) {
        if (request.toldEnd) {
            return;
        }
        request.toldEnd = true;
        try {
            listener.onFinished(request, reason);
        } catch (Throwable t) {
            dropListener(t);
        }
        try {
            request.sink.onFinish(reason, stopTokenId, message);
        } catch (Throwable t) {
            log("the sink of " + request + " failed at its end", t);
        }
    }

    void admitted(long queueNanos) {
        try {
            listener.onAdmitted(queueNanos);
        } catch (Throwable t) {
            dropListener(t);
        }
    }

    void prefilled(RequestState request) {
        try {
            listener.onPrefilled(request);
        } catch (Throwable t) {
            dropListener(t);
        }
    }

    void preempted() {
        try {
            listener.onPreempted();
        } catch (Throwable t) {
            dropListener(t);
        }
    }

    void step(StepStats stats) {
        try {
            listener.onStep(stats);
        } catch (Throwable t) {
            dropListener(t);
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

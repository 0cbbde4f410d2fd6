package io.millrace.server.openai;

import io.millrace.engine.EngineLimits;
import io.millrace.engine.text.IncrementalDecoder;
import io.millrace.scheduler.RequestHandle;

/** One answer in the making: takes tokens from its queue, makes text of them, watches for stop strings. Connection thread only. */
final class Choice {
    /** Where a choice's progress goes. */
    interface Listener {
        /**
         * One token, still at the front of {@link Choice#queue}.
         *
         * @param text  the text it completed
         * @param shown the text that may be shown now: without what stop strings hold back
         */
        void onToken(Choice choice, String text, String shown);

        /** The last event; {@code shown} is the rest of the text. */
        void onEnd(Choice choice, String shown);
    }

    private final int index;
    private final Prompt prompt;
    private final TokenQueue queue;
    private final IncrementalDecoder decoder;
    private final StopMatcher stops;
    private final Sampling sampling;
    private final EngineLimits limits;
    private final SpokenTokens spoken;
    private RequestHandle handle;
    private int numTokens;
    private boolean done;
    private String finishReason;
    private String stopString;
    private int stopTokenId = -1;

    /** @param spoken special tokens that are text all the same */
    Choice(int index, Prompt prompt, TokenQueue queue, IncrementalDecoder decoder, Sampling sampling, EngineLimits limits, SpokenTokens spoken) {
        this.index = index;
        this.prompt = prompt;
        this.queue = queue;
        this.decoder = decoder;
        this.sampling = sampling;
        this.limits = limits;
        this.spoken = spoken;
        this.stops = new StopMatcher(sampling.stop(), sampling.includeStop());
    }

    void submitted(RequestHandle requestHandle) {
        handle = requestHandle;
    }

    void abort() {
        if (!done) {
            handle.abort();
        }
    }

    boolean hasNews() {
        return !done && (queue.hasToken() || queue.isFinished());
    }

    /**
     * Delivers everything that is ready.
     *
     * @throws ApiException if the engine ended this choice without an answer
     */
    void drain(Listener listener) {
        boolean ended = queue.isFinished(); // read first: then every token is visible below
        while (!done && queue.hasToken()) {
            numTokens++;
            int token = queue.token();
            // A stop token ends the answer and is no part of it; the end itself follows at once.
            if (!endsAnswer(token)) {
                String text = decoder.append(token) + spoken.text(token);
                listener.onToken(this, text, stops.append(text, numTokens > sampling.minTokens()));
            }
            queue.advance();
            if (stops.matched() != null) {
                handle.abort();
                end(listener, "stop", "");
            }
        }
        if (!done && ended) {
            String rest = stops.append(decoder.finish(), numTokens > sampling.minTokens());
            boolean stopped = stops.matched() != null;
            switch (queue.finishReason()) {
                case STOP -> end(listener, "stop", stopped ? rest : rest + stops.flush());
                case LENGTH -> end(listener, stopped ? "stop" : "length", stopped ? rest : rest + stops.flush());
                case ABORT -> throw ApiException.unavailable("aborted", "The server ended this request before it was complete.", 1);
                case TIMEOUT -> throw new ApiException(504, "timeout_error", "deadline_exceeded", "timeout", queue.failure(), 0);
                case ERROR -> throw ApiException.internal("The engine failed: " + queue.failure());
            }
        }
    }

    private void end(Listener listener, String reason, String rest) {
        done = true;
        finishReason = reason;
        stopString = stops.matched();
        if (stopString == null && queue.isFinished() && isStopId(queue.stopTokenId())) {
            stopTokenId = queue.stopTokenId();
        }
        listener.onEnd(this, rest);
    }

    private boolean endsAnswer(int token) {
        return !sampling.ignoreEos() && limits.isEos(token) || isStopId(token);
    }

    private boolean isStopId(int token) {
        for (int id : sampling.stopTokenIds()) {
            if (id == token) {
                return true;
            }
        }
        return false;
    }

    int index() {
        return index;
    }

    Prompt prompt() {
        return prompt;
    }

    TokenQueue queue() {
        return queue;
    }

    boolean isDone() {
        return done;
    }

    /** Output tokens so far, a final stop token included. */
    int numTokens() {
        return numTokens;
    }

    int numCachedTokens() {
        return Math.min(handle.numCachedTokens(), prompt.ids().length);
    }

    /** {@code stop}, {@code length}, or {@code tool_calls} where the model stopped after one; null before the end. */
    String finishReason(boolean hasCalls) {
        return hasCalls && "stop".equals(finishReason) ? "tool_calls" : finishReason;
    }

    /** The stop string that ended the text, or null. */
    String stopString() {
        return stopString;
    }

    /** What exactly stopped it, as JSON: the stop string, the id of a requested stop token, or null. */
    void writeStopReason(JsonBuffer json) {
        if (stopString != null) {
            json.string(stopString);
        } else if (stopTokenId >= 0) {
            json.number(stopTokenId);
        } else {
            json.raw("null");
        }
    }
}

package io.millrace.server.openai;

import io.millrace.server.openai.output.OutputFormat;
import io.millrace.server.openai.output.OutputParser;
import io.millrace.server.openai.output.OutputSink;

/**
 * The one choice of a chat generation as its parts: what protocols with other forms than OpenAI's are written from. Calls {@link #begins}, then
 * the methods of {@link OutputSink} in the order of the text, then {@link #ends}; all from within {@link #advance}.
 */
public abstract class SingleAnswer implements OutputSink {
    private final Generation generation;
    private final Choice choice;
    private final OutputFormat format;
    private final OutputParser parser;
    private OutputSink sink;
    private boolean begun;
    private boolean called;

    /** @param generation of a chat request with one choice */
    protected SingleAnswer(Generation generation) {
        this.generation = generation;
        this.choice = generation.choices().getFirst();
        this.format = generation.request().format();
        this.parser = format == null ? OutputParser.plain() : format.parser();
    }

    /** Before the first part; the numbers of prompt tokens are known. */
    protected abstract void begins();

    /**
     * After the last part.
     *
     * @param reason     {@code stop}, {@code length} or {@code tool_calls}
     * @param stopString that ended the text, or null
     */
    protected abstract void ends(String reason, String stopString);

    /** Whether any call of the answer is complete; to be set by {@link #callEnds}. */
    protected final void called() {
        called = true;
    }

    /** Waits for news for at most {@code nanos} and delivers it; whether there was any. */
    protected final boolean advance(long nanos) {
        return generation.poll(nanos, listener);
    }

    /** Delivers all, until the answer is complete or the client is gone. */
    protected final void advanceToTheEnd() {
        while (!generation.isDone() && !generation.isClientGone()) {
            advance(Long.MAX_VALUE);
        }
    }

    protected final String model() {
        return generation.request().model();
    }

    protected final int promptTokens() {
        return choice.prompt().ids().length;
    }

    /** Of the prompt's tokens, those that were not computed for this request. */
    protected final int cachedTokens() {
        return choice.numCachedTokens();
    }

    protected final int outputTokens() {
        return choice.numTokens();
    }

    /** An id for a call that the model gave none. */
    protected final String newCallId(String prefix) {
        return prefix + CallIds.random(24);
    }

    private final Choice.Listener listener = new Choice.Listener() {
        @Override
        public void onToken(Choice any, String text, String shown) {
            begin();
            parser.append(shown, sink);
        }

        @Override
        public void onEnd(Choice any, String shown) {
            begin();
            parser.append(shown, sink);
            parser.finish(sink);
            ends(choice.finishReason(called), choice.stopString());
        }
    };

    private void begin() {
        if (!begun) {
            begun = true;
            sink = format == null ? this : format.sink(this);
            begins();
        }
    }
}

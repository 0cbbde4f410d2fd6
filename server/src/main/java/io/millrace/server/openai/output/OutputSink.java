package io.millrace.server.openai.output;

/** Takes what an {@link OutputParser} finds, in the order of the text. No piece is empty. */
public interface OutputSink {
    void content(String text);

    void reasoning(String text);

    /**
     * A call begins; the following {@link #arguments} are its own until {@link #callEnds}.
     *
     * @param id as the model named it, or null
     */
    void call(String id, String name);

    /** The next part of the call's arguments, together the text of one JSON value. */
    void arguments(String json);

    /** The call is complete. */
    void callEnds();

    /**
     * The call will not be complete: the model wrote something else within it, or the text has ended.
     *
     * @param raw all that was taken for the call, as it was written
     */
    void callBreaks(String raw);
}

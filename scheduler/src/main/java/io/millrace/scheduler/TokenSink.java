package io.millrace.scheduler;

import io.millrace.engine.StepResult;

/**
 * Where a request's tokens go. Called on the engine thread (and, for the end of requests that a stuck engine keeps waiting, in its
 * place, never two at once): implementations copy what they need, wake their reader and return; they
 * never block, never throw, and allocate nothing in the steady state.
 */
public interface TokenSink {
    /**
     * Prompt tokens {@code [firstPosition, firstPosition + count)} were scored: rows {@code [firstRow, firstRow + count)} of {@code result}. Only
     * requests that ask for prompt scores hear of them, so a sink of other requests leaves this alone.
     */
    default void onPromptScored(int firstPosition, int count, StepResult result, int firstRow) {}

    /** One output token; log-probabilities are in row {@code row} of {@code result}, valid during the call only. A stop token is passed too, before {@link #onFinish}. */
    void onToken(int tokenId, StepResult result, int row);

    /**
     * The last call for this request.
     *
     * @param stopTokenId the token that ended it, or -1
     * @param message     null unless {@link FinishReason#ERROR}
     */
    void onFinish(FinishReason reason, int stopTokenId, String message);
}

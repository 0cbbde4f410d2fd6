package io.millrace.server.openai;

/** How a {@link Generation} is written down. One of the two kinds, for the connection's thread. */
public sealed interface Answer {
    /** One JSON object at the end. */
    non-sealed interface Whole extends Answer {
        /**
         * Waits until the answer is complete or the client is gone.
         *
         * @throws ApiException if the engine failed
         */
        void await();

        /** The response object; once. */
        JsonBuffer toJson();
    }

    /** Server-sent events. */
    non-sealed interface Stream extends Answer {
        /**
         * Waits for news for at most {@code nanos} and makes events of them. They belong to this object and are overwritten by the next call;
         * none if nothing came or the client is gone.
         *
         * @throws ApiException if the engine failed; events made before are lost with the answer
         */
        JsonBuffer next(long nanos);

        boolean isComplete();

        /** The events that end a stream which cannot go on. */
        JsonBuffer failure(ApiException error);
    }
}

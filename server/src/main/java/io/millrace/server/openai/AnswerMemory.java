package io.millrace.server.openai;

import java.util.concurrent.atomic.AtomicLong;

/**
 * Keeps log-probabilities and echoed prompts from filling the Java heap: such a request reserves what its answer may need at most before
 * it is submitted, and gives it back when it ends. What cannot fit is refused at once; what does not fit now may come again. Plain text
 * reserves nothing, it is bounded by the tokens in the house. Thread-safe.
 */
public final class AnswerMemory {
    /** Id and value, in a queue's segment or a prompt's scores. */
    private static final int QUEUED_BYTES = 8;
    /** An alternative as JSON of a completion ({@code "text":-1.2345678,}) or chat ({@code token}, {@code logprob}, {@code bytes}). */
    private static final int COMPLETION_BYTES = 24;
    private static final int CHAT_BYTES = 64;
    /** A whole answer exists as parts and as one body, each in a buffer that doubles as it grows. */
    private static final int COPIES = 4;

    private final long limitBytes;
    private final AtomicLong reservedBytes = new AtomicLong();

    public AnswerMemory(long limitBytes) {
        this.limitBytes = limitBytes;
    }

    /** A third of the largest heap: the rest is for the vocabulary, request bodies and everybody else. */
    public static long defaultLimitBytes() {
        return Runtime.getRuntime().maxMemory() / 3;
    }

    /** Bytes taken until closed. */
    public final class Reservation implements AutoCloseable {
        private long bytes;

        private Reservation(long bytes) {
            this.bytes = bytes;
        }

        @Override
        public void close() {
            reservedBytes.addAndGet(-bytes);
            bytes = 0;
        }
    }

    /** @throws ApiException 400 if the answer could never be held, 429 if not now */
    public Reservation reserve(GenerateRequest request) {
        long bytes = bytesOf(request);
        if (bytes > limitBytes) {
            throw ApiException.badRequest("answer_too_large", request.numLogprobs() >= 0 ? "logprobs" : "echo", "The answer with "
                    + request.numChoices() + " choices" + (request.numLogprobs() < 0 ? "" : ", `logprobs` of " + request.numLogprobs())
                    + (request.echo() ? ", `echo`" : "") + " and up to " + longest(request) + " output tokens each may need " + bytes
                    + " bytes of memory, the limit is " + limitBytes
                    + "; ask for fewer choices, tokens or alternatives, or split the request.");
        }
        long reserved;
        do {
            reserved = reservedBytes.get();
            if (reserved + bytes > limitBytes && bytes > 0) {
                throw new ApiException(429, "rate_limit_error", "rate_limit_exceeded", null, "The answers being computed may need "
                        + reserved + " bytes for log-probabilities and echoed prompts, this one " + bytes + ", the limit is " + limitBytes
                        + "; try again in 1 s.", 1);
            }
        } while (!reservedBytes.compareAndSet(reserved, reserved + bytes));
        return new Reservation(bytes);
    }

    private static int longest(GenerateRequest request) {
        int longest = 0;
        for (int tokens : request.maxTokens()) {
            longest = Math.max(longest, tokens);
        }
        return longest;
    }

    /** An upper bound in the right order of magnitude: names of tokens vary. */
    static long bytesOf(GenerateRequest request) {
        int jsonBytes = (request.chat() ? CHAT_BYTES : COMPLETION_BYTES) * COPIES;
        double bytes = 0;
        for (int p = 0; p < request.prompts().size(); p++) {
            Prompt prompt = request.prompts().get(p);
            double perChoice = 0;
            if (request.numLogprobs() >= 0) {
                // A stream writes its events out as they come: only the queue grows, if the client is slow.
                perChoice += (double) request.maxTokens()[p] * (request.numLogprobs() + 1)
                        * (QUEUED_BYTES + (request.stream() ? 0 : jsonBytes));
            }
            if (request.echo()) {
                perChoice += 2.0 * COPIES * prompt.text().length();
            }
            if (request.numPromptLogprobs() >= 0) {
                // The echoed prompt is one event of a stream, so it is JSON as a whole there too. The scores are shared by the choices.
                double entries = (double) prompt.ids().length * (request.numPromptLogprobs() + 1);
                perChoice += entries * jsonBytes;
                bytes += entries * QUEUED_BYTES;
            }
            bytes += perChoice * request.sampling().n();
        }
        return (long) bytes;
    }
}

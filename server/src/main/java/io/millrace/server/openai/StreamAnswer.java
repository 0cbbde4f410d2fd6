package io.millrace.server.openai;

import io.millrace.engine.text.Tokenizer;
import java.nio.charset.StandardCharsets;

/**
 * A generation as server-sent events. Each token is one event; all that are ready are handed over at once.
 *
 * <p>Framing: {@code data: {json}\n\n} per event, {@code data: [DONE]\n\n} at the very end.
 */
public final class StreamAnswer implements Choice.Listener, Answer.Stream {
    private static final byte[] DATA = "data: ".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] END = "\n\n".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] DONE = "data: [DONE]\n\n".getBytes(StandardCharsets.US_ASCII);

    private final Generation generation;
    private final GenerateRequest request;
    private final Envelope envelope;
    private final JsonBuffer events = new JsonBuffer(2048);
    private final Logprobs[] logprobs;
    private final boolean[] opened;
    /** Null where all is content. */
    private final ChatDeltas[] deltas;
    private boolean complete;

    public StreamAnswer(Generation generation, Tokenizer tokenizer) {
        this.generation = generation;
        this.request = generation.request();
        this.envelope = Envelope.of(request);
        int choices = generation.choices().size();
        this.opened = new boolean[choices];
        this.logprobs = new Logprobs[choices];
        this.deltas = request.format() == null ? null : new ChatDeltas[choices];
        if (request.numLogprobs() >= 0) {
            TokenText tokens = new TokenText(tokenizer);
            for (int i = 0; i < choices; i++) {
                logprobs[i] = request.chat() ? new ChatLogprobs(tokens) : new CompletionLogprobs(tokens);
            }
        }
    }

    @Override
    public JsonBuffer next(long nanos) {
        events.clear();
        if (generation.poll(nanos, this) && generation.isDone()) {
            if (request.includeUsage()) {
                events.raw(DATA);
                envelope.open(events);
                events.raw("],\"usage\":");
                generation.writeUsage(events);
                events.raw("}").raw(END);
            }
            events.raw(DONE);
            complete = true;
        }
        return events;
    }

    @Override
    public boolean isComplete() {
        return complete;
    }

    @Override
    public JsonBuffer failure(ApiException error) {
        JsonBuffer events = new JsonBuffer(256).raw(DATA);
        error.writeTo(events);
        return events.raw(END).raw(DONE);
    }

    @Override
    public void onToken(Choice choice, String text, String shown) {
        open(choice);
        Logprobs scores = logprobs[choice.index()];
        if (scores != null) {
            scores.add(choice.queue(), text);
        }
        if (deltas != null) {
            deltas[choice.index()].append(shown);
        } else if (scores != null || !shown.isEmpty()) {
            writeText(choice, shown, scores);
        }
    }

    @Override
    public void onEnd(Choice choice, String shown) {
        open(choice);
        if (deltas != null) {
            deltas[choice.index()].finish(shown);
            // With the scores of tokens that said nothing: marks, or text that was never shown.
            writeText(choice, "", logprobs[choice.index()]);
        } else {
            writeText(choice, shown, null);
        }
    }

    /** What precedes the first token: the role in a chat, the prompt where it is to be echoed. */
    private void open(Choice choice) {
        if (opened[choice.index()]) {
            return;
        }
        opened[choice.index()] = true;
        if (deltas != null) {
            deltas[choice.index()] = new ChatDeltas(request.format(), delta -> writeDelta(choice, delta, logprobs[choice.index()]));
        }
        if (request.chat()) {
            startChunk(choice);
            events.raw("\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]");
            endChunk(choice);
        } else if (request.echo()) {
            Logprobs scores = logprobs[choice.index()];
            if (scores instanceof CompletionLogprobs completion) {
                completion.addPrompt(choice.prompt().ids(), choice.queue().promptScores());
            }
            writeText(choice, choice.prompt().text(), scores);
        }
    }

    private void writeText(Choice choice, String text, Logprobs scores) {
        startChunk(choice);
        if (!request.chat()) {
            events.raw("\"text\":").string(text);
        } else if (text.isEmpty() && choice.isDone()) {
            events.raw("\"delta\":{}");
        } else {
            events.raw("\"delta\":{\"content\":").string(text).raw("}");
        }
        writeScores(scores);
        writeFinish(choice, choice.isDone());
    }

    private void writeDelta(Choice choice, JsonBuffer delta, Logprobs scores) {
        startChunk(choice);
        events.raw("\"delta\":").raw(delta);
        writeScores(scores);
        // The end is a chunk of its own, since more deltas may follow this one.
        writeFinish(choice, false);
    }

    private void writeScores(Logprobs scores) {
        if (scores != null && !scores.isEmpty()) {
            events.raw(",\"logprobs\":");
            scores.writeTo(events);
            scores.clear();
        } else if (!request.chat()) {
            events.raw(",\"logprobs\":null"); // the official schema of completions requires the key
        }
    }

    private void writeFinish(Choice choice, boolean done) {
        if (done) {
            boolean hasCalls = deltas != null && deltas[choice.index()].hasCalls();
            events.raw(",\"finish_reason\":\"").raw(choice.finishReason(hasCalls)).raw("\",\"stop_reason\":");
            choice.writeStopReason(events);
            events.raw("}]");
        } else {
            events.raw(",\"finish_reason\":null}]");
        }
        endChunk(choice);
    }

    private void startChunk(Choice choice) {
        events.raw(DATA);
        envelope.open(events);
        events.raw("{\"index\":").number(choice.index()).raw(",");
    }

    private void endChunk(Choice choice) {
        if (request.continuousUsage()) {
            events.raw(",\"usage\":");
            Generation.writeUsage(events, choice.prompt().ids().length, choice.numTokens(), choice.numCachedTokens());
        } else if (request.includeUsage()) {
            events.raw(",\"usage\":null");
        }
        events.raw("}").raw(END);
    }
}

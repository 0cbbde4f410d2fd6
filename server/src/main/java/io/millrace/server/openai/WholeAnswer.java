package io.millrace.server.openai;

import io.millrace.engine.text.Tokenizer;

/** A generation as one JSON object. */
public final class WholeAnswer implements Choice.Listener, Answer.Whole {
    private final Generation generation;
    private final GenerateRequest request;
    private final StringBuilder[] texts;
    private final ChatMessage[] messages;
    private final Logprobs[] logprobs;
    private final TokenText tokens;

    public WholeAnswer(Generation generation, Tokenizer tokenizer) {
        this.generation = generation;
        this.request = generation.request();
        this.tokens = new TokenText(tokenizer);
        int choices = generation.choices().size();
        texts = new StringBuilder[choices];
        messages = new ChatMessage[choices];
        logprobs = new Logprobs[choices];
    }

    @Override
    public void await() {
        while (!generation.isDone() && !generation.isClientGone()) {
            generation.poll(Long.MAX_VALUE, this);
        }
    }

    @Override
    public void onToken(Choice choice, String text, String shown) {
        open(choice);
        if (logprobs[choice.index()] != null) {
            logprobs[choice.index()].add(choice.queue(), text);
        }
        append(choice.index(), shown);
    }

    @Override
    public void onEnd(Choice choice, String shown) {
        open(choice);
        append(choice.index(), shown);
        if (request.chat()) {
            messages[choice.index()].finish("length".equals(choice.finishReason(false)));
        }
    }

    private void append(int i, String shown) {
        if (request.chat()) {
            messages[i].append(shown);
        } else {
            texts[i].append(shown);
        }
    }

    private void open(Choice choice) {
        int i = choice.index();
        if (texts[i] != null || messages[i] != null) {
            return;
        }
        if (request.chat()) {
            messages[i] = new ChatMessage(request.format());
        } else {
            texts[i] = new StringBuilder();
        }
        if (request.echo()) {
            texts[i].append(choice.prompt().text());
        }
        if (request.numLogprobs() >= 0) {
            logprobs[i] = request.chat() ? new ChatLogprobs(tokens) : new CompletionLogprobs(tokens);
            if (request.echo() && logprobs[i] instanceof CompletionLogprobs completion) {
                completion.addPrompt(choice.prompt().ids(), choice.queue().promptScores());
            }
        }
    }

    @Override
    public JsonBuffer toJson() {
        JsonBuffer json = new JsonBuffer(1024);
        Envelope.of(request).open(json);
        for (Choice choice : generation.choices()) {
            int i = choice.index();
            json.raw(i == 0 ? "" : ",").raw("{\"index\":").number(i);
            if (request.chat()) {
                json.raw(",\"message\":");
                messages[i].writeTo(json);
            } else {
                json.raw(",\"text\":").string(texts[i]);
            }
            json.raw(",\"logprobs\":");
            if (logprobs[i] == null) {
                json.raw("null");
            } else {
                logprobs[i].writeTo(json);
                logprobs[i] = null; // nothing of it is needed twice, and it may be large
            }
            json.raw(",\"finish_reason\":\"").raw(choice.finishReason(request.chat() && messages[i].hasCalls())).raw("\",\"stop_reason\":");
            choice.writeStopReason(json);
            json.raw("}");
        }
        json.raw("],\"usage\":");
        generation.writeUsage(json);
        return json.raw("}");
    }
}

package io.millrace.server.openai;

import io.millrace.engine.EngineLimits;
import io.millrace.engine.text.Tokenizer;
import io.millrace.scheduler.GenerationRequest;
import io.millrace.scheduler.GenerationService;
import io.millrace.scheduler.RejectedException;
import io.millrace.scheduler.RequestHandle;
import io.millrace.scheduler.Terms;
import java.util.ArrayList;
import java.util.List;
import java.util.function.LongSupplier;

/**
 * A submitted request: all its choices, read by the thread that submitted it. {@link #clientGone} may be called by any thread.
 */
public final class Generation {
    private final GenerateRequest request;
    private final List<Choice> choices;
    private final Signal signal;
    private volatile boolean clientGone;

    private Generation(GenerateRequest request, List<Choice> choices, Signal signal) {
        this.request = request;
        this.choices = choices;
        this.signal = signal;
    }

    /** @param tenant the API key's number
     *  @throws ApiException 429 or 503 (with Retry-After) or 400 if the request is not admitted */
    public static Generation submit(GenerateRequest request, GenerationService service, EngineLimits limits, Tokenizer tokenizer,
            LongSupplier freshSeeds, int tenant) {
        Signal signal = new Signal(Thread.currentThread());
        Sampling sampling = request.sampling();
        Terms terms = new Terms(tenant, request.priority(), request.timeoutNanos());
        SpokenTokens spoken = request.format() == null || !sampling.skipSpecialTokens() ? SpokenTokens.NONE
                : SpokenTokens.of(request.format().markers(), tokenizer);
        List<Choice> choices = new ArrayList<>(request.numChoices());
        List<GenerationRequest> submissions = new ArrayList<>(request.numChoices());
        for (int p = 0; p < request.prompts().size(); p++) {
            Prompt prompt = request.prompts().get(p);
            int numPromptLogprobs = request.numPromptLogprobs();
            PromptScores scores = numPromptLogprobs < 0 ? null : new PromptScores(prompt.ids().length, numPromptLogprobs);
            for (int sample = 0; sample < sampling.n(); sample++) {
                TokenQueue queue = new TokenQueue(signal, request.numLogprobs(), scores);
                choices.add(new Choice(choices.size(), prompt, queue, tokenizer.decoder(prompt.ids(), sampling.skipSpecialTokens()),
                        sampling, limits, spoken));
                submissions.add(new GenerationRequest(prompt.ids(),
                        sampling.params(sample, request.maxTokens()[p], request.numLogprobs(), numPromptLogprobs, freshSeeds), queue,
                        request.cacheSalt(), terms));
            }
        }
        List<RequestHandle> handles;
        try {
            handles = service.submitAll(submissions);
        } catch (RejectedException e) {
            throw refusal(e);
        }
        for (int i = 0; i < handles.size(); i++) {
            choices.get(i).submitted(handles.get(i));
        }
        return new Generation(request, choices, signal);
    }

    private static ApiException refusal(RejectedException e) {
        int retryAfter = Math.max(1, e.retryAfterSeconds());
        return switch (e.kind()) {
            case QUEUE_FULL, TENANT_BUSY, TENANT_RATE ->
                    new ApiException(429, "rate_limit_error", e.kind().code(), null, e.getMessage(), retryAfter);
            case TOO_LONG -> ApiException.badRequest(e.kind().code(), "prompt", e.getMessage());
            case TOO_MANY -> ApiException.badRequest(e.kind().code(), "n", e.getMessage());
            case SHUTTING_DOWN, STALLED, ENGINE_DEAD -> ApiException.unavailable(e.kind().code(), e.getMessage(), retryAfter);
        };
    }

    /** Waits until something is new, the client is gone or {@code nanos} have passed; then delivers all that is ready. */
    boolean poll(long nanos, Choice.Listener listener) {
        if (!hasNews()) {
            signal.await(this::hasNews, nanos);
        }
        if (clientGone || !hasNews()) {
            return false;
        }
        for (Choice choice : choices) {
            if (choice.hasNews()) {
                choice.drain(listener);
            }
        }
        return true;
    }

    private boolean hasNews() {
        if (clientGone) {
            return true;
        }
        for (Choice choice : choices) {
            if (choice.hasNews()) {
                return true;
            }
        }
        return false;
    }

    boolean isDone() {
        for (Choice choice : choices) {
            if (!choice.isDone()) {
                return false;
            }
        }
        return true;
    }

    /** Ends what still runs; the engine drops it within one step. Idempotent. */
    public void cancel() {
        for (Choice choice : choices) {
            choice.abort();
        }
    }

    /** To be called when nobody will read the answer any more. */
    public void clientGone() {
        clientGone = true;
        signal.raise();
    }

    public boolean isClientGone() {
        return clientGone;
    }

    GenerateRequest request() {
        return request;
    }

    List<Choice> choices() {
        return choices;
    }

    /**
     * Writes the usage object of all choices together. A prompt counts once however many choices continue it, and as cached counts what its
     * first choice found: that one computes the prompt for the others.
     */
    void writeUsage(JsonBuffer json) {
        int prompt = 0;
        int cached = 0;
        int completion = 0;
        for (int i = 0; i < choices.size(); i++) {
            Choice choice = choices.get(i);
            completion += choice.numTokens();
            if (i % request.sampling().n() == 0) {
                prompt += choice.prompt().ids().length;
                cached += choice.numCachedTokens();
            }
        }
        writeUsage(json, prompt, completion, cached);
    }

    static void writeUsage(JsonBuffer json, int prompt, int completion, int cached) {
        json.raw("{\"prompt_tokens\":").number(prompt).raw(",\"completion_tokens\":").number(completion)
                .raw(",\"total_tokens\":").number((long) prompt + completion)
                .raw(",\"prompt_tokens_details\":{\"cached_tokens\":").number(cached).raw("}}");
    }
}

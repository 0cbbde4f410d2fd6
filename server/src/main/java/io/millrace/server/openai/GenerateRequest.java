package io.millrace.server.openai;

import io.millrace.server.openai.output.OutputFormat;
import java.util.List;

/**
 * A validated request, of either endpoint, ready to be submitted.
 *
 * @param model             the name the client used; answers repeat it
 * @param maxTokens         output tokens at most, per prompt
 * @param numLogprobs       alternatives per output token, -1 = no log-probabilities
 * @param numPromptLogprobs the same for prompt tokens
 * @param echo              the prompt's text precedes the answer
 * @param includeUsage      a stream ends with a chunk that counts tokens
 * @param continuousUsage   every chunk of the stream does
 * @param cacheSalt         only requests of the same salt share cached prefixes; null = those without one
 * @param priority          smaller is more urgent; 0 unless the server serves by priority
 * @param timeoutNanos      the answer must be complete so soon; 0 = whenever
 * @param format            what the text may have beside content, or null
 */
public record GenerateRequest(boolean chat, String model, List<Prompt> prompts, Sampling sampling, int[] maxTokens, int numLogprobs,
        int numPromptLogprobs, boolean echo, boolean stream, boolean includeUsage, boolean continuousUsage, String cacheSalt, int priority,
        long timeoutNanos, OutputFormat format) {
    int numChoices() {
        return prompts.size() * sampling.n();
    }
}

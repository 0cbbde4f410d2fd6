package io.millrace.server.bench;

import io.millrace.engine.SamplingParams;
import io.millrace.engine.StepResult;
import io.millrace.scheduler.FinishReason;
import io.millrace.scheduler.GenerationRequest;
import io.millrace.scheduler.GenerationService;
import io.millrace.scheduler.TokenSink;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.function.IntConsumer;

/**
 * How well a model predicts a text: the mean of -ln p(token | the tokens before it in its window), and e to that. Windows go through the same
 * service as requests do, many in one step. All sums are double.
 */
public final class Perplexity {
    /** In flight at once: enough for the largest step, few enough for any queue. */
    private static final int WAVE = 64;

    /**
     * Tokens of which those from {@code firstScored} on count; the ones before are context.
     *
     * @param tokenIds    at least two
     * @param firstScored at least 1: nothing predicts the first token
     */
    public record Window(int[] tokenIds, int firstScored) {
        int numScored() {
            return tokenIds.length - firstScored;
        }
    }

    /**
     * @param nats    sum of -ln p
     * @param squares sum of their squares
     * @param bytes   of the text of the scored tokens
     */
    public record Result(long tokens, double nats, double squares, long bytes, double seconds) {
        public double natsPerToken() {
            return nats / tokens;
        }

        public double perplexity() {
            return Math.exp(natsPerToken());
        }

        public double bitsPerByte() {
            return nats / Math.log(2) / bytes;
        }

        /** Standard error of {@link #natsPerToken}, as if tokens were drawn independently. */
        public double natsError() {
            double variance = Math.max(0, squares / tokens - natsPerToken() * natsPerToken());
            return Math.sqrt(variance / Math.max(1, tokens - 1));
        }

        /** Of {@link #perplexity}, to first order. */
        public double perplexityError() {
            return perplexity() * natsError();
        }

        /** Under stable names. */
        public Map<String, Object> toMap() {
            Map<String, Object> map = new LinkedHashMap<>();
            map.put("perplexity", perplexity());
            map.put("perplexity_standard_error", perplexityError());
            map.put("nats_per_token", natsPerToken());
            map.put("nats_per_token_standard_error", natsError());
            map.put("bits_per_byte", bitsPerByte());
            map.put("num_scored_tokens", tokens);
            map.put("num_scored_bytes", bytes);
            map.put("duration", seconds);
            map.put("scored_tokens_per_second", tokens / seconds);
            return map;
        }
    }

    private Perplexity() {}

    /**
     * Cuts a text into windows. With {@code stride == context} they do not overlap and the second half of each is scored, as llama-perplexity
     * does; with a smaller stride each window scores its last {@code stride} tokens, so that all but the first get at least {@code context -
     * stride} tokens of context.
     *
     * @param tokenIds the text, without special tokens; a remainder that fills no window is left out unless it is the only one
     * @param bos      takes the place of the first token of every window; -1: none
     */
    public static List<Window> windows(int[] tokenIds, int context, int stride, int bos) {
        List<Window> windows = new ArrayList<>();
        for (int begin = 0; begin == 0 || begin + context <= tokenIds.length; begin += stride) {
            int[] window = Arrays.copyOfRange(tokenIds, begin, Math.min(tokenIds.length, begin + context));
            if (window.length < 2) {
                break;
            }
            if (bos >= 0) {
                window[0] = bos;
            }
            int skipped = stride == context ? window.length / 2 + 1 : window.length - stride;
            windows.add(new Window(window, Math.clamp(skipped, 1, window.length - 1)));
        }
        return windows;
    }

    /**
     * Scores all windows.
     *
     * @param bytesOf bytes of the text that a token stands for, 0 for special ones
     * @param onDone  hears how many windows are done
     * @throws IllegalStateException if one could not be scored
     */
    public static Result score(GenerationService service, List<Window> windows, java.util.function.IntUnaryOperator bytesOf, IntConsumer onDone)
            throws InterruptedException {
        SamplingParams sampling = SamplingParams.builder().temperature(0f).maxTokens(0).numPromptLogprobs(0).build();
        double nats = 0;
        double squares = 0;
        long tokens = 0;
        long bytes = 0;
        long start = System.nanoTime();
        for (int first = 0; first < windows.size(); first += WAVE) {
            List<Window> wave = windows.subList(first, Math.min(windows.size(), first + WAVE));
            CountDownLatch open = new CountDownLatch(wave.size());
            List<Scores> scores = wave.stream().map(window -> new Scores(window, open)).toList();
            service.submitAll(scores.stream().map(score -> new GenerationRequest(score.window.tokenIds(), sampling, score)).toList());
            open.await();
            for (Scores score : scores) {
                score.check();
                for (int p = score.window.firstScored(); p < score.window.tokenIds().length; p++) {
                    double nll = -score.logprobs[p];
                    nats += nll;
                    squares += nll * nll;
                    bytes += bytesOf.applyAsInt(score.window.tokenIds()[p]);
                }
                tokens += score.window.numScored();
            }
            onDone.accept(first + wave.size());
        }
        return new Result(tokens, nats, squares, bytes, (System.nanoTime() - start) / 1e9);
    }

    /** Filled on the engine thread, read after the latch. */
    private static final class Scores implements TokenSink {
        private final Window window;
        private final CountDownLatch open;
        private final float[] logprobs;
        private int numScored;
        private String failure;

        Scores(Window window, CountDownLatch open) {
            this.window = window;
            this.open = open;
            this.logprobs = new float[window.tokenIds().length];
        }

        @Override
        public void onPromptScored(int firstPosition, int count, StepResult result, int firstRow) {
            for (int k = 0; k < count; k++) {
                logprobs[firstPosition + k] = result.logprob(firstRow + k);
            }
            numScored += count;
        }

        @Override
        public void onToken(int tokenId, StepResult result, int row) {}

        @Override
        public void onFinish(FinishReason reason, int stopTokenId, String message) {
            failure = reason == FinishReason.LENGTH ? null : reason + (message == null ? "" : ": " + message);
            open.countDown();
        }

        void check() {
            if (failure != null || numScored != logprobs.length - 1) {
                throw new IllegalStateException("SRV-003: a window of " + logprobs.length + " tokens got " + numScored + " scores"
                        + (failure == null ? "" : " and ended with " + failure));
            }
        }
    }
}

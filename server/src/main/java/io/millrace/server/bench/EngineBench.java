package io.millrace.server.bench;

import io.millrace.engine.SamplingParams;
import io.millrace.scheduler.FinishReason;
import io.millrace.scheduler.GenerationRequest;
import io.millrace.scheduler.GenerationService;
import io.millrace.server.serving.TokenStream;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.atomic.AtomicLong;

/** Speed of the engine in this process, without HTTP and text. Runs on one thread. */
public final class EngineBench {
    /**
     * One batch from submission to its last token. Generation is the time in which all sequences generate: from the last first token to
     * the first end.
     *
     * @param seconds           the whole
     * @param prefillSeconds    until every sequence had its first token
     * @param promptTokens      of all sequences
     * @param generationSeconds of the steps in which all sequences took part; NaN if there were none
     * @param generationSteps   those steps; each gives every sequence a token
     * @param firstContexts     of each sequence, the positions that its first token of those steps attended to
     */
    public record Iteration(double seconds, double prefillSeconds, long promptTokens, double generationSeconds, int generationSteps,
            List<Integer> firstContexts) {
        public int batchSize() {
            return firstContexts.size();
        }

        /** Tokens of the steps in which all sequences took part. */
        public long generatedTokens() {
            return (long) generationSteps * batchSize();
        }

        /** Prompt tokens per second until every sequence had its first token. */
        public double promptRate() {
            return promptTokens / prefillSeconds;
        }

        /** Output tokens per second while all sequences generate; NaN where they never did. */
        public double generationRate() {
            return generatedTokens() / generationSeconds;
        }
    }

    private static final AtomicLong ROUNDS = new AtomicLong();

    private EngineBench() {}

    /**
     * Submits the prompts together and waits for all.
     *
     * @throws IllegalStateException if a request did not end by its length
     */
    public static Iteration run(GenerationService service, List<int[]> prompts, int outputLen) {
        List<TokenStream> streams = new ArrayList<>(prompts.size());
        List<GenerationRequest> requests = new ArrayList<>(prompts.size());
        SamplingParams sampling = SamplingParams.builder().temperature(0f).maxTokens(outputLen).ignoreEos(true).build();
        // Rounds measure computing: none finds what the one before left in the prefix cache.
        String salt = "bench round " + ROUNDS.incrementAndGet();
        for (int[] prompt : prompts) {
            TokenStream stream = new TokenStream(outputLen, Thread.currentThread());
            streams.add(stream);
            requests.add(new GenerationRequest(prompt, sampling, stream, salt));
        }
        long start = System.nanoTime();
        service.submitAll(requests);
        for (TokenStream stream : streams) {
            FinishReason reason = stream.awaitEnd();
            if (reason != FinishReason.LENGTH) {
                throw new IllegalStateException("SRV-003: a request of the benchmark ended with " + reason
                        + (stream.message() == null ? "" : ": " + stream.message()));
            }
        }
        return iteration(start, prompts, streams);
    }

    /** @param streams ended, one per prompt */
    static Iteration iteration(long start, List<int[]> prompts, List<TokenStream> streams) {
        TokenStream last = Collections.max(streams, Comparator.comparingLong(stream -> stream.arrivalNanos(0)));
        long lastFirst = last.arrivalNanos(0);
        long end = streams.stream().mapToLong(stream -> stream.arrivalNanos(stream.numTokens() - 1)).max().orElse(lastFirst);
        int[] before = streams.stream().mapToInt(stream -> numUntil(stream, lastFirst)).toArray();
        int steps = Integer.MAX_VALUE;
        for (int i = 0; i < before.length; i++) {
            steps = Math.min(steps, streams.get(i).numTokens() - before[i]);
        }
        List<Integer> contexts = new ArrayList<>();
        for (int i = 0; i < before.length; i++) {
            // An output token comes of the last one before it, which sees the prompt and all output so far.
            contexts.add(prompts.get(i).length + before[i]);
        }
        double generationSeconds = steps == 0 ? Double.NaN : (last.arrivalNanos(steps) - lastFirst) / 1e9;
        return new Iteration((end - start) / 1e9, (lastFirst - start) / 1e9, prompts.stream().mapToLong(prompt -> prompt.length).sum(),
                generationSeconds, steps, contexts);
    }

    /** Tokens that had come at that time. */
    private static int numUntil(TokenStream stream, long nanos) {
        int n = 0;
        while (n < stream.numTokens() && stream.arrivalNanos(n) <= nanos) {
            n++;
        }
        return n;
    }

    /** Random prompts within the vocabulary, the same for the same seed. */
    public static List<int[]> prompts(int count, int length, int vocabSize, long seed) {
        Random random = new Random(seed);
        List<int[]> prompts = new ArrayList<>(count);
        for (int i = 0; i < count; i++) {
            prompts.add(random.ints(length, 0, vocabSize).toArray());
        }
        return prompts;
    }

    /** The figures of a batch under stable names. */
    public static Map<String, Object> toMap(List<Iteration> iterations, int inputLen, int outputLen, Optional<WorkRates> rates) {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("input_len", inputLen);
        map.put("output_len", outputLen);
        map.put("batch_size", iterations.getFirst().batchSize());
        map.put("num_iters", iterations.size());
        map.put("avg_latency", iterations.stream().mapToDouble(Iteration::seconds).average().orElse(Double.NaN));
        map.put("latencies", iterations.stream().map(Iteration::seconds).toList());
        double[] sorted = iterations.stream().mapToDouble(Iteration::seconds).sorted().toArray();
        Map<String, Object> percentiles = new LinkedHashMap<>();
        for (int percentile : new int[] {10, 25, 50, 75, 90, 99}) {
            percentiles.put(String.valueOf(percentile), sorted[Math.clamp((int) Math.ceil(percentile / 100.0 * sorted.length) - 1, 0, sorted.length - 1)]);
        }
        map.put("percentiles", percentiles);
        Spread.of(iterations, Iteration::seconds).putInto(map, "latency_s");
        Spread.of(iterations, Iteration::prefillSeconds).putInto(map, "ttft_s");
        Spread.of(iterations, Iteration::promptRate).putInto(map, "prompt_tokens_per_s");
        Spread.of(iterations, Iteration::generationRate).putInto(map, "generation_tokens_per_s");
        rates.ifPresent(known -> known.putInto(map));
        return map;
    }
}

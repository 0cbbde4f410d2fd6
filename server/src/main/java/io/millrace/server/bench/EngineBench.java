package io.millrace.server.bench;

import io.millrace.engine.SamplingParams;
import io.millrace.scheduler.FinishReason;
import io.millrace.scheduler.GenerationRequest;
import io.millrace.scheduler.GenerationService;
import io.millrace.server.serving.TokenStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/** Speed of the engine in this process, without HTTP and text. Runs on one thread. */
public final class EngineBench {
    /**
     * One batch from submission to its last token.
     *
     * @param seconds           the whole
     * @param prefillSeconds    until every sequence had its first token
     * @param promptRate        prompt tokens per second of that time
     * @param generationRate    output tokens per second after it; NaN where there were none
     */
    public record Iteration(double seconds, double prefillSeconds, double promptRate, double generationRate) {}

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
        for (int[] prompt : prompts) {
            TokenStream stream = new TokenStream(outputLen, Thread.currentThread());
            streams.add(stream);
            requests.add(new GenerationRequest(prompt, sampling, stream));
        }
        long start = System.nanoTime();
        service.submitAll(requests);
        long lastFirst = start;
        long end = start;
        for (TokenStream stream : streams) {
            FinishReason reason = stream.awaitEnd();
            if (reason != FinishReason.LENGTH) {
                throw new IllegalStateException("SRV-003: a request of the benchmark ended with " + reason
                        + (stream.message() == null ? "" : ": " + stream.message()));
            }
            lastFirst = Math.max(lastFirst, stream.arrivalNanos(0));
            end = Math.max(end, stream.arrivalNanos(stream.numTokens() - 1));
        }
        long promptTokens = prompts.stream().mapToLong(prompt -> prompt.length).sum();
        long generated = 0;
        for (TokenStream stream : streams) {
            for (int i = 0; i < stream.numTokens(); i++) {
                generated += stream.arrivalNanos(i) > lastFirst ? 1 : 0;
            }
        }
        double prefill = (lastFirst - start) / 1e9;
        return new Iteration((end - start) / 1e9, prefill, promptTokens / prefill, generated == 0 ? Double.NaN : generated * 1e9 / (end - lastFirst));
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

    /** Median and spread of a figure over iterations. */
    public record Spread(double median, double min, double max) {
        public static Spread of(List<Iteration> iterations, java.util.function.ToDoubleFunction<Iteration> figure) {
            double[] values = iterations.stream().mapToDouble(figure).sorted().toArray();
            int n = values.length;
            double median = n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
            return new Spread(median, values[0], values[n - 1]);
        }
    }

    /** The figures under stable names. */
    public static Map<String, Object> toMap(List<Iteration> iterations, int inputLen, int outputLen, int batchSize) {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("input_len", inputLen);
        map.put("output_len", outputLen);
        map.put("batch_size", batchSize);
        map.put("num_iters", iterations.size());
        map.put("avg_latency", iterations.stream().mapToDouble(Iteration::seconds).average().orElse(Double.NaN));
        map.put("latencies", iterations.stream().map(Iteration::seconds).toList());
        double[] sorted = iterations.stream().mapToDouble(Iteration::seconds).sorted().toArray();
        Map<String, Object> percentiles = new LinkedHashMap<>();
        for (int percentile : new int[] {10, 25, 50, 75, 90, 99}) {
            percentiles.put(String.valueOf(percentile), sorted[Math.clamp((int) Math.ceil(percentile / 100.0 * sorted.length) - 1, 0, sorted.length - 1)]);
        }
        map.put("percentiles", percentiles);
        put(map, "latency_s", Spread.of(iterations, Iteration::seconds));
        put(map, "ttft_s", Spread.of(iterations, Iteration::prefillSeconds));
        put(map, "prompt_tokens_per_s", Spread.of(iterations, Iteration::promptRate));
        Spread generation = Spread.of(iterations, Iteration::generationRate);
        if (Arrays.stream(new double[] {generation.median(), generation.min(), generation.max()}).allMatch(Double::isFinite)) {
            put(map, "generation_tokens_per_s", generation);
        }
        return map;
    }

    private static void put(Map<String, Object> map, String name, Spread spread) {
        map.put("median_" + name, spread.median());
        map.put("min_" + name, spread.min());
        map.put("max_" + name, spread.max());
    }
}

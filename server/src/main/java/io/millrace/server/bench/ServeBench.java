package io.millrace.server.bench;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.locks.LockSupport;
import java.util.function.IntConsumer;

/**
 * Load on a server over HTTP: each request streams on a virtual thread of its own, at its due time (open loop) and with at most so
 * many at once (closed loop). Times are the client's: to a request's first text (TTFT), between texts (ITL), to the end (E2E), and
 * TPOT = (E2E - TTFT) / (output tokens - 1).
 *
 * <p>In a closed loop a request begins when it is sent. In an open loop it begins when it was due: a request that could not be sent in
 * time, for want of a free place or since this client lagged, has been waiting all the same, and a measurement that leaves the wait
 * out tells of a slow server only how it treats the requests it lets in ("coordinated omission", Tene 2013). The times from sending
 * are given beside them.
 */
public final class ServeBench {
    /** Limits in milliseconds that a good request keeps; infinite where none is set. */
    public record Goodput(double ttftMillis, double tpotMillis, double e2eMillis) {
        boolean isSet() {
            return Double.isFinite(ttftMillis) || Double.isFinite(tpotMillis) || Double.isFinite(e2eMillis);
        }
    }

    /**
     * @param chat           chat completions with the prompt as text instead of completions with token ids
     * @param maxConcurrency requests in flight at most
     */
    public record Options(String model, boolean chat, boolean ignoreEos, double temperature, int maxConcurrency, Goodput goodput) {}

    /**
     * All that was measured, over the requests that succeeded; the lag is of all.
     *
     * @param openLoop      whether {@code ttft} and {@code e2e} count from the moment a request was due, not from sending
     * @param maxLagNanos   the longest time from due to sent; 0 in a closed loop
     */
    public record Result(double seconds, int completed, int failed, long inputTokens, long outputTokens, int good, boolean goodputAsked,
            boolean openLoop, long maxLagNanos, Distribution ttft, Distribution tpot, Distribution itl, Distribution e2e,
            Distribution ttftSinceSent, Distribution e2eSinceSent, List<String> errors) {
        public double requestsPerSecond() {
            return completed / seconds;
        }

        public double outputTokensPerSecond() {
            return outputTokens / seconds;
        }

        public double totalTokensPerSecond() {
            return (inputTokens + outputTokens) / seconds;
        }

        /** The figures under stable names, those of {@code vllm bench serve} where it has them. */
        public Map<String, Object> toMap() {
            Map<String, Object> map = new LinkedHashMap<>();
            map.put("duration", seconds);
            map.put("completed", completed);
            map.put("failed", failed);
            map.put("total_input_tokens", inputTokens);
            map.put("total_output_tokens", outputTokens);
            map.put("request_throughput", requestsPerSecond());
            map.put("output_throughput", outputTokensPerSecond());
            map.put("total_token_throughput", totalTokensPerSecond());
            if (goodputAsked) {
                map.put("request_goodput", good / seconds);
            }
            ttft.putInto(map, "ttft");
            tpot.putInto(map, "tpot");
            itl.putInto(map, "itl");
            e2e.putInto(map, "e2el");
            if (openLoop) {
                ttftSinceSent.putInto(map, "ttft_since_sent");
                e2eSinceSent.putInto(map, "e2el_since_sent");
                map.put("max_send_lag_ms", maxLagNanos * 1e-6);
            }
            map.put("errors", errors);
            return map;
        }
    }

    private static final int MAX_ERRORS = 5;

    private final OpenAiClient client;
    private final Options options;
    private final Distribution ttft = new Distribution();
    private final Distribution tpot = new Distribution();
    private final Distribution itl = new Distribution();
    private final Distribution e2e = new Distribution();
    private final Distribution ttftSinceSent = new Distribution();
    private final Distribution e2eSinceSent = new Distribution();
    private final List<String> errors = new ArrayList<>();
    private int completed;
    private int failed;
    private int good;
    private long inputTokens;
    private long outputTokens;
    private long maxLagNanos;

    private ServeBench(OpenAiClient client, Options options) {
        this.client = client;
        this.options = options;
    }

    /** Sends the workload and waits for its end. {@code onDone} hears how many requests are done, on any thread. */
    public static Result run(OpenAiClient client, Workload workload, Options options, IntConsumer onDone) throws InterruptedException {
        return new ServeBench(client, options).run(workload, onDone);
    }

    /** One request outside the measurement; returns its error or null. */
    public static String probe(OpenAiClient client, Workload.Request request, Options options) {
        return client.stream(path(options), body(request, options)).error();
    }

    private Result run(Workload workload, IntConsumer onDone) throws InterruptedException {
        List<Workload.Request> requests = workload.requests();
        // Bodies are made before the clock starts.
        List<byte[]> bodies = requests.stream().map(request -> body(request, options)).toList();
        Semaphore places = new Semaphore(options.maxConcurrency());
        CountDownLatch open = new CountDownLatch(requests.size());
        boolean openLoop = workload.isTimed();
        long start = System.nanoTime();
        for (int i = 0; i < requests.size(); i++) {
            Workload.Request request = requests.get(i);
            byte[] body = bodies.get(i);
            long due = start + request.dueNanos();
            long wait;
            while ((wait = due - System.nanoTime()) > 0) {
                LockSupport.parkNanos(wait);
            }
            places.acquire();
            Thread.ofVirtual().start(() -> {
                try {
                    OpenAiClient.Streamed answer = client.stream(path(options), body);
                    onDone.accept(settle(request, answer, openLoop ? answer.sentNanos() - due : 0));
                } finally {
                    places.release();
                    open.countDown();
                }
            });
        }
        open.await();
        double seconds = (System.nanoTime() - start) / 1e9;
        synchronized (this) {
            return new Result(seconds, completed, failed, inputTokens, outputTokens, good, options.goodput().isSet(), openLoop,
                    maxLagNanos, ttft, tpot, itl, e2e, ttftSinceSent, e2eSinceSent, List.copyOf(errors));
        }
    }

    private synchronized int settle(Workload.Request request, OpenAiClient.Streamed answer, long lagNanos) {
        maxLagNanos = Math.max(maxLagNanos, lagNanos);
        if (answer.error() != null) {
            failed++;
            if (errors.size() < MAX_ERRORS && !errors.contains(answer.error())) {
                errors.add(answer.error());
            }
            return completed + failed;
        }
        completed++;
        inputTokens += answer.promptTokens() >= 0 ? answer.promptTokens() : request.promptTokenIds().length;
        outputTokens += answer.outputTokens();
        e2e.recordNanos(lagNanos + answer.e2eNanos());
        e2eSinceSent.recordNanos(answer.e2eNanos());
        for (long gap : answer.gapNanos()) {
            itl.recordNanos(gap);
        }
        boolean isGood = lagNanos + answer.e2eNanos() <= options.goodput().e2eMillis() * 1e6;
        if (answer.ttftNanos() > 0) {
            ttft.recordNanos(lagNanos + answer.ttftNanos());
            ttftSinceSent.recordNanos(answer.ttftNanos());
            isGood &= lagNanos + answer.ttftNanos() <= options.goodput().ttftMillis() * 1e6;
            if (answer.outputTokens() > 1) {
                long perToken = (answer.e2eNanos() - answer.ttftNanos()) / (answer.outputTokens() - 1);
                tpot.recordNanos(perToken);
                isGood &= perToken <= options.goodput().tpotMillis() * 1e6;
            }
        }
        good += isGood ? 1 : 0;
        return completed + failed;
    }

    private static String path(Options options) {
        return options.chat() ? "/v1/chat/completions" : "/v1/completions";
    }

    private static byte[] body(Workload.Request request, Options options) {
        ObjectNode body = OpenAiClient.object().put("model", options.model()).put("max_tokens", request.outputLen())
                .put("temperature", options.temperature()).put("stream", true);
        body.putObject("stream_options").put("include_usage", true);
        if (options.ignoreEos()) {
            body.put("ignore_eos", true);
        }
        if (options.chat()) {
            body.putArray("messages").addObject().put("role", "user").put("content", words(request.promptTokenIds()));
        } else {
            ArrayNode ids = body.putArray("prompt");
            for (int id : request.promptTokenIds()) {
                ids.add(id);
            }
        }
        return OpenAiClient.bytes(body);
    }

    /** Chat takes text only: one short word per id, so that the length is about right; the server's usage has the exact one. */
    private static String words(int[] ids) {
        String[] words = {"the", "dog", "ran", "to", "a", "big", "red", "ball", "and", "sat", "on", "mat", "with", "his", "cat", "one", "day", "sun"};
        StringBuilder text = new StringBuilder(ids.length * 4);
        for (int id : ids) {
            text.append(text.isEmpty() ? "" : " ").append(words[Math.floorMod(id, words.length)]);
        }
        return text.toString();
    }
}

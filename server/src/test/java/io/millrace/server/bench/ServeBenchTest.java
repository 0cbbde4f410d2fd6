package io.millrace.server.bench;

import static io.millrace.server.bench.ScriptedServer.DONE;
import static io.millrace.server.bench.ScriptedServer.END;
import static io.millrace.server.bench.ScriptedServer.HEAD;
import static io.millrace.server.bench.ScriptedServer.chunk;
import static io.millrace.server.bench.ScriptedServer.text;
import static io.millrace.server.bench.ScriptedServer.usage;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.millrace.server.bench.ScriptedServer.Part;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.IntFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * The measuring instrument against a server with known delays: what each figure means, and what must not enter it. A delay is never
 * shorter than scripted, so lower bounds are exact; upper bounds only tell one definition from another.
 */
@Timeout(60)
class ServeBenchTest {
    private static final ServeBench.Goodput NO_LIMITS = limits(Double.POSITIVE_INFINITY, Double.POSITIVE_INFINITY, Double.POSITIVE_INFINITY);

    private static ServeBench.Goodput limits(double ttft, double tpot, double e2e) {
        return new ServeBench.Goodput(ttft, tpot, e2e);
    }

    private static Workload workload(long... dueMillis) {
        List<Workload.Request> requests = new ArrayList<>();
        for (long due : dueMillis) {
            requests.add(new Workload.Request(new int[] {5, 6, 7}, 4, due * 1_000_000));
        }
        return new Workload(requests);
    }

    private static ServeBench.Result run(IntFunction<List<Part>> scripts, Workload workload, int concurrency, ServeBench.Goodput goodput)
            throws Exception {
        try (ScriptedServer server = new ScriptedServer(scripts); OpenAiClient client = client(server)) {
            return ServeBench.run(client, workload, new ServeBench.Options("m", false, true, 0, concurrency, goodput), done -> { });
        }
    }

    private static OpenAiClient client(ScriptedServer server) {
        return new OpenAiClient(server.uri(), null, Duration.ofSeconds(20));
    }

    private static List<Part> quick(int pauseMillis) {
        return List.of(new Part(pauseMillis, HEAD + chunk(text("a")) + chunk(text("b")) + chunk(usage(3, 2)) + DONE + END));
    }

    /** TTFT ends with the first text, not with the head or an empty chunk; E2E with the stream; TPOT = (E2E - TTFT) / (n - 1) by usage. */
    @Test
    void figuresMeanWhatTheDocumentationSays() throws Exception {
        ServeBench.Result result = run(n -> List.of(new Part(0, HEAD), new Part(30, chunk(text(""))), new Part(90, chunk(text("one"))),
                new Part(60, chunk(text("two"))), new Part(60, chunk(text("three"))), new Part(80, chunk(usage(17, 5)) + DONE), new Part(20, END)),
                workload(0), 1, NO_LIMITS);
        double ttft = result.ttft().millis(50);
        double e2e = result.e2e().millis(50);
        assertThat(ttft).isGreaterThanOrEqualTo(119.9);
        assertThat(e2e - ttft).isGreaterThanOrEqualTo(217);
        assertThat(result.tpot().millis(50)).as("4 tokens after the first, though 3 texts came").isCloseTo((e2e - ttft) / 4, within(0.2));
        assertThat(result.itl().count()).isEqualTo(2);
        assertThat(result.itl().meanMillis()).isGreaterThan(55).isLessThan((e2e - ttft) / 2);
        assertThat(result.inputTokens()).isEqualTo(17);
        assertThat(result.outputTokens()).isEqualTo(5);
        assertThat(result.toMap()).containsKeys("mean_ttft_ms", "p99_itl_ms", "median_e2el_ms", "output_throughput")
                .doesNotContainKeys("request_goodput", "max_send_lag_ms", "mean_ttft_since_sent_ms");
    }

    /** One at a time, 100 ms each, all due within 20 ms: the last waited for its turn, and that is part of what its client saw. */
    @Test
    void inAnOpenLoopWaitingForAPlaceIsPartOfTheLatency() throws Exception {
        ServeBench.Result result = run(n -> quick(100), workload(0, 10, 20), 1, NO_LIMITS);
        assertThat(result.openLoop()).isTrue();
        assertThat(result.ttft().millis(100)).isGreaterThanOrEqualTo(279);
        assertThat(result.e2e().millis(100)).isGreaterThanOrEqualTo(279);
        assertThat(result.ttftSinceSent().millis(100)).isLessThan(result.ttft().millis(100) - 150);
        Map<String, Object> map = result.toMap();
        assertThat((double) map.get("max_send_lag_ms")).isBetween(179.0, result.ttft().millis(100) - 99);
        assertThat(map).containsKeys("p99_ttft_since_sent_ms", "mean_e2el_since_sent_ms");

        ServeBench.Result good = run(n -> quick(100), workload(0, 10, 20), 1, limits(200, Double.POSITIVE_INFINITY, Double.POSITIVE_INFINITY));
        assertThat(good.good()).as("the second at 190 ms may just do, the third at 280 never").isLessThan(3);
    }

    /** The same load as a closed loop: a request begins when there is a place for it. */
    @Test
    void inAClosedLoopLatencyCountsFromSending() throws Exception {
        ServeBench.Result result = run(n -> quick(100), workload(0, 0, 0), 1, NO_LIMITS);
        assertThat(result.openLoop()).isFalse();
        assertThat(result.ttft().millis(1)).isGreaterThanOrEqualTo(99.9);
        assertThat(result.ttft().meanMillis()).isEqualTo(result.ttftSinceSent().meanMillis());
        assertThat(result.seconds()).isGreaterThanOrEqualTo(0.3);
        assertThat(result.maxLagNanos()).isZero();
    }

    @Test
    void goodputCountsWhatKeepsEveryLimit() throws Exception {
        IntFunction<List<Part>> scripts = n -> quick(n % 2 == 0 ? 0 : 500);
        ServeBench.Result result = run(scripts, workload(0, 0, 0, 0), 1, limits(400, 10_000, 20_000));
        assertThat(result.completed()).isEqualTo(4);
        assertThat(result.good()).isEqualTo(2);
        assertThat((double) result.toMap().get("request_goodput")).isCloseTo(2 / result.seconds(), within(1e-9));
        assertThat(run(n -> quick(5), workload(0), 1, limits(1000, 1000, 4)).good()).as("E2E alone over its limit").isZero();
    }

    /** A failure is counted with its cause, and no number of it enters a figure, the gaps before it broke included. */
    @Test
    void failuresLeaveNoTraceInTheFigures() throws Exception {
        String body = "{\"error\":{\"message\":\"too busy\"}}";
        List<List<Part>> scripts = List.of(
                List.of(new Part(0, "HTTP/1.1 429 Too Many Requests\r\nContent-Length: " + body.length() + "\r\n\r\n" + body)),
                List.of(new Part(0, HEAD + chunk(text("a"))), new Part(40, chunk(text("b"))), new Part(0, chunk("data: " + body + "\n\n") + DONE + END)),
                List.of(new Part(0, HEAD + chunk(text("a"))), new Part(40, chunk(text("b")) + END)),
                List.of(new Part(0, HEAD + chunk(text("a"))), new Part(40, chunk(text("b"))), new Part(0, null)),
                List.of(new Part(0, "nonsense\r\n\r\n"), new Part(0, null)),
                quick(0));
        ServeBench.Result result = run(scripts::get, workload(0, 0, 0, 0, 0, 0), 1, NO_LIMITS);
        assertThat(result.failed()).isEqualTo(5);
        assertThat(result.completed()).isEqualTo(1);
        assertThat(result.itl().count()).isEqualTo(1);
        assertThat(result.itl().millis(100)).as("the 40 ms gaps belong to failed requests").isLessThan(39);
        assertThat(result.ttft().count()).isEqualTo(1);
        assertThat(result.outputTokens()).isEqualTo(2);
        assertThat(result.errors()).hasSize(5);
        assertThat(result.errors().get(0)).contains("429", "too busy");
        assertThat(result.errors().get(1)).contains("in the stream", "too busy");
        assertThat(result.errors().get(2)).contains("without [DONE]");
        assertThat(result.errors().get(4)).contains("nonsense");
    }

    /** Chunks cut anywhere, with extensions and trailers, comments between events, text of either endpoint: the same text comes out. */
    @Test
    void framingDoesNotMatter() throws Exception {
        String stream = ": ping\n\n" + text("a") + "data:{\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
                + "data: {\"choices\":[{\"delta\":{\"content\":\"b\u00fc\"}}]}\r\n\r\n" + text("c") + "data: [DONE]\n\n";
        try (ScriptedServer server = new ScriptedServer(n -> {
            byte[] all = stream.getBytes(java.nio.charset.StandardCharsets.UTF_8);
            StringBuilder framed = new StringBuilder(HEAD);
            // Cut into n + 1 parts; the one letter of two bytes is kept whole, since a part is written as text.
            int cut = stream.length() * (n + 1) / 40;
            framed.append(ext(stream.substring(0, cut))).append(ext(stream.substring(cut)));
            return List.of(new Part(0, framed + "0\r\nX-Trailer: " + all.length + "\r\n\r\n"));
        }); OpenAiClient client = client(server)) {
            for (int n = 0; n < 38; n++) {
                OpenAiClient.Streamed answer = client.stream("/v1/completions", new byte[] {'{', '}'});
                assertThat(answer.error()).isNull();
                assertThat(answer.text()).isEqualTo("ab\u00fcc");
                assertThat(answer.gapNanos()).hasSize(2);
                assertThat(answer.outputTokens()).as("texts, where the server counts nothing").isEqualTo(3);
                assertThat(answer.promptTokens()).isEqualTo(-1);
            }
            assertThat(server.numConnections()).as("a whole answer leaves its connection to the next").isEqualTo(1);
        }
    }

    private static String ext(String text) {
        return chunk(text).replaceFirst("\r\n", ";name=value\r\n");
    }

    /** More gaps than any buffer starts with: none is lost. */
    @Test
    void longStreamsKeepEveryGap() throws Exception {
        StringBuilder all = new StringBuilder(HEAD);
        for (int i = 0; i < 1000; i++) {
            all.append(chunk(text("x")));
        }
        ServeBench.Result result = run(n -> List.of(new Part(0, all + DONE + END)), workload(0), 1, NO_LIMITS);
        assertThat(result.itl().count()).isEqualTo(999);
        assertThat(result.outputTokens()).isEqualTo(1000);
    }

    @Test
    void distributionsReportWhatWasRecorded() {
        Distribution values = new Distribution();
        assertThat(values.meanMillis()).isNaN();
        for (int i = 1; i <= 100; i++) {
            values.recordNanos(i * 1_000_000L);
        }
        assertThat(values.meanMillis()).isCloseTo(50.5, within(0.01));
        assertThat(values.millis(50)).isCloseTo(50, within(0.01));
        assertThat(values.millis(90)).isCloseTo(90, within(0.01));
        assertThat(values.millis(99)).isCloseTo(99, within(0.01));
    }

    /** A trace is taken whole unless a number is given; a rate gives exponential gaps of its mean, the same for the same seed. */
    @Test
    void workloadsArriveAsAsked(@TempDir Path folder) throws Exception {
        Path trace = folder.resolve("trace.jsonl");
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < 500; i++) {
            lines.append("{\"t_ms\": ").append(i * 10).append(", \"in\": ").append(1 + i % 7).append(", \"out\": 3}\n");
        }
        Files.writeString(trace, lines);
        Workload whole = Workload.trace(trace, Integer.MAX_VALUE, 2, 10, 20, 1);
        assertThat(whole.requests()).hasSize(500);
        assertThat(whole.isTimed()).isTrue();
        assertThat(whole.requests().get(100).dueNanos()).isEqualTo(500_000_000L);
        assertThat(whole.requests().get(6).promptTokenIds()).hasSize(7);
        Workload poisson = Workload.random(4000, 3, 3, 0, 10, 20, 1).arrivingAt(100, 9);
        assertThat(poisson.requests().getLast().dueNanos() * 1e-9).isCloseTo(40, within(3.0));
        assertThat(poisson.requests().get(77).dueNanos()).isEqualTo(Workload.random(4000, 3, 3, 0, 10, 20, 1).arrivingAt(100, 9).requests().get(77).dueNanos());
        assertThat(Workload.random(5, 3, 3, 0, 10, 20, 1).isTimed()).isFalse();
    }
}

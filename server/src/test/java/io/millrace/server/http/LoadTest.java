package io.millrace.server.http;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.server.openai.ByteTokenizer;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Guards what happens when clients vanish, do not read, come too many, or the engine fails: no block leaks, nothing is stuck, the others
 * are served, and each client is told what happened to it.
 */
class LoadTest {
    private static final String LONG = "{'prompt':'a','max_tokens':200";

    @ParameterizedTest
    @CsvSource({"true,true", "true,false", "false,true", "false,false"})
    void clientThatVanishesIsDroppedWithinAStep(boolean stream, boolean reset) {
        try (TestServer server = TestServer.stepped(c -> c, 64)) {
            RawClient client = new RawClient(server).post("/v1/completions", LONG + ",'stream':" + stream + "}");
            server.steps.release(3);
            if (stream) {
                client.readUntil("data: ");
            }
            TestServer.await("three steps", () -> server.loop.status().numSteps() >= 3);
            client.vanish(reset);
            // The watcher notices without a write. The steps allowed meanwhile are few, and far from the 200 that were asked for.
            stepUntilIdle(server);
            assertThat(server.loop.status().numSteps()).isLessThan(150);
        }
    }

    /** A step every 20 ms: time enough to notice, on a busy machine too, long before the answer would be complete. */
    private static void stepUntilIdle(TestServer server) {
        TestServer.await("all requests are gone", () -> {
            server.steps.release();
            LockSupport.parkNanos(20_000_000);
            return server.isIdle();
        });
    }

    @Test
    void clientThatVanishesInTheQueueIsDroppedFromIt() {
        try (TestServer server = TestServer.stepped(c -> c, 64)) {
            List<RawClient> clients = new ArrayList<>();
            for (int i = 0; i < 12; i++) {
                clients.add(new RawClient(server).post("/v1/completions", LONG + ",'stream':" + (i % 2 == 0) + "}"));
            }
            TestServer.await("8 run and 4 wait", () -> {
                server.steps.release();
                return server.loop.status().numRunning() == 8 && server.loop.status().numWaiting() == 4;
            });
            long stepsBefore = server.loop.status().numSteps();
            clients.forEach(client -> client.vanish(false));
            stepUntilIdle(server);
            assertThat(server.loop.status().numSteps()).isLessThan(stepsBefore + 150);
        }
    }

    /** 200 streaming clients, every second one vanishes midway: the rest are answered in full, no block leaks, the next request is quick. */
    @Test
    void halfOfTwoHundredClientsVanish() throws Exception {
        try (TestServer server = new TestServer(engine -> { }, c -> c, 400, new Semaphore(0)); ExecutorService clients = Executors.newVirtualThreadPerTaskExecutor()) {
            List<Future<String>> answers = new ArrayList<>();
            for (int i = 0; i < 200; i++) {
                boolean vanishes = i % 2 == 1;
                boolean reset = i % 4 == 1;
                answers.add(clients.submit(() -> {
                    RawClient client = new RawClient(server).post("/v1/completions", LONG + ",'stream':true}");
                    if (vanishes) {
                        client.readUntil("data: ");
                        client.vanish(reset);
                        return "";
                    }
                    String text = client.readUntil("0\r\n\r\n");
                    client.close();
                    return text;
                }));
            }
            for (int i = 0; i < 200; i += 2) {
                assertThat(answers.get(i).get()).contains("\"finish_reason\":\"length\"").endsWith("data: [DONE]\n\n\r\n0\r\n\r\n");
            }
            TestServer.await("all blocks are free", server::isIdle);
            long before = System.nanoTime();
            server.ok("/v1/completions", "{'prompt':'a','max_tokens':4}");
            assertThat(Duration.ofNanos(System.nanoTime() - before)).isLessThan(Duration.ofSeconds(1));
        }
    }

    /** A client that never reads fills its socket's buffers; its own thread waits, the engine and the other clients do not. */
    @Test
    void slowReaderHoldsUpNobody() {
        try (TestServer server = new TestServer(engine -> engine.maxModelLen(8000).blocks(4096, 16), c -> c)) {
            RawClient slow = new RawClient(server, 4096).post("/v1/completions", "{'prompt':'a','max_tokens':7000,'logprobs':20,'stream':true}");
            slow.readUntil("data: ");
            for (int i = 0; i < 20; i++) {
                server.ok("/v1/completions", "{'prompt':'b','max_tokens':50}");
            }
            TestServer.await("the slow client's tokens are all computed", server::isIdle);
            assertThat(slow.readUntil("0\r\n\r\n")).contains("\"finish_reason\":\"length\"").endsWith("data: [DONE]\n\n\r\n0\r\n\r\n");
            slow.close();
        }
    }

    @Test
    void tooManyAreRefusedWith429AndWhenToComeBack() {
        try (TestServer server = TestServer.stepped(c -> c, 2)) {
            List<CompletableFuture<HttpResponse<String>>> admitted = new ArrayList<>();
            for (int i = 0; i < 10; i++) {
                admitted.add(server.client.sendAsync(server.postOf("/v1/completions", "{\"prompt\":\"a\",\"max_tokens\":200}"),
                        HttpResponse.BodyHandlers.ofString()));
            }
            TestServer.await("8 run, 2 wait", () -> {
                server.steps.release();
                return server.loop.status().numRunning() + server.loop.status().numWaiting() == 10;
            });
            for (String stream : List.of("false", "true")) {
                HttpResponse<String> refused = server.post("/v1/completions", "{\"prompt\":\"a\",\"stream\":" + stream + "}");
                assertThat(refused.statusCode()).isEqualTo(429);
                assertThat(Integer.parseInt(refused.headers().firstValue("retry-after").orElseThrow())).isPositive();
                assertThat(TestServer.json(refused.body()).at("/error/code").textValue()).isEqualTo("rate_limit_exceeded");
            }
            server.steps.release(10_000);
            admitted.forEach(answer -> assertThat(answer.join().statusCode()).isEqualTo(200));
            assertThat(server.post("/v1/completions", "{\"prompt\":\"a\"}").statusCode()).isEqualTo(200);
        }
    }

    /** Trying again would not help, so it is no 429. */
    @Test
    void moreChoicesThanPlacesAre400() {
        try (TestServer server = TestServer.stepped(c -> c, 2)) {
            HttpResponse<String> refused = server.post("/v1/completions", "{\"prompt\":\"a\",\"n\":11}");
            assertThat(refused.statusCode()).isEqualTo(400);
            assertThat(refused.headers().firstValue("retry-after")).isEmpty();
            assertThat(refused.body()).contains("too_many_choices", "SCH-012");
        }
    }

    @Test
    void answersThatMayNotFitTheHeapAreRefused() {
        try (TestServer server = new TestServer(engine -> { }, config -> config.answerMemoryBytes(100_000))) {
            assertThat(server.post("/v1/completions", "{\"prompt\":\"a\",\"max_tokens\":250,\"logprobs\":20,\"n\":8}").body())
                    .contains("answer_too_large", "100000");
            server.ok("/v1/completions", "{'prompt':'a','max_tokens':20,'logprobs':20}");
            // Reservations end with their requests.
            for (int i = 0; i < 20; i++) {
                server.ok("/v1/completions", "{'prompt':'a','max_tokens':20,'logprobs':20}");
            }
        }
    }

    /** Bodies held at once are bounded; one more is told so, and those that are here go on. */
    @Test
    void bodiesInFlightAreBounded() {
        try (TestServer server = new TestServer(engine -> { }, config -> config.maxBodyBytes(100_000).maxHeldBodyBytes(150_000))) {
            String head = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{\"prompt\":\"a\"";
            String rest = " ".repeat(100_000 - 13 - 1) + "}";
            try (RawClient first = new RawClient(server).send(head + rest.substring(0, 90_000))) {
                // Before that the two would race, and either could be the one that is too much.
                TestServer.await("the first is held", () -> server.server.heldBodyBytes() > 90_000);
                try (RawClient second = new RawClient(server).send(head + rest)) {
                    assertThat(second.readToEndOfAnswer()).startsWith("HTTP/1.1 503").contains("server_busy");
                }
                first.send(rest.substring(90_000));
                assertThat(first.readUntil("\r\n")).startsWith("HTTP/1.1 200");
            }
            server.ok("/v1/completions", "{'prompt':'a'}");
        }
    }

    @Test
    void engineFailureMidStreamIsAnEventAndBeforeItAnHttpError() {
        AtomicBoolean broken = new AtomicBoolean();
        Semaphore steps = new Semaphore(0);
        try (TestServer server = new TestServer(engine -> engine.hook(plan -> {
            steps.acquireUninterruptibly();
            if (broken.get()) {
                throw new IllegalStateException("the device is gone");
            }
        }), c -> c, 64, steps)) {
            RawClient streaming = new RawClient(server).post("/v1/completions", LONG + ",'stream':true}");
            server.steps.release(3);
            String head = streaming.readUntil("data: ");
            CompletableFuture<HttpResponse<String>> whole = server.client.sendAsync(server.postOf("/v1/completions",
                    (LONG + "}").replace('\'', '"')), HttpResponse.BodyHandlers.ofString());
            TestServer.await("both are in", () -> {
                server.steps.release();
                return server.loop.status().numRunning() == 2;
            });
            broken.set(true);
            server.steps.release(10);
            String rest = streaming.readUntil("0\r\n\r\n");
            assertThat(head).startsWith("HTTP/1.1 200");
            assertThat(rest).contains("data: {\"error\":{\"message\":").endsWith("data: [DONE]\n\n\r\n0\r\n\r\n");
            JsonNode error = TestServer.json(whole.join().body()).get("error");
            assertThat(whole.join().statusCode()).isEqualTo(500);
            assertThat(error.get("type").textValue()).isEqualTo("server_error");
            HttpResponse<String> later = server.post("/v1/completions", "{\"prompt\":\"a\"}");
            assertThat(later.statusCode()).isEqualTo(503);
            assertThat(TestServer.json(later.body()).at("/error/code").textValue()).isEqualTo("engine_dead");
            assertThat(server.get("/health").statusCode()).isEqualTo(503);
            assertThat(server.get("/ready").statusCode()).isEqualTo(503);
            streaming.close();
        }
    }

    @Test
    void drainingFinishesWhatRunsAndRefusesWhatComes() throws Exception {
        try (TestServer server = TestServer.stepped(config -> config.shutdownTimeout(Duration.ofSeconds(10)), 64)) {
            CompletableFuture<HttpResponse<String>> running = server.client.sendAsync(server.postOf("/v1/completions",
                    "{\"prompt\":\"a\",\"max_tokens\":20}"), HttpResponse.BodyHandlers.ofString());
            server.steps.release(2);
            TestServer.await("it runs", () -> server.loop.status().numRunning() == 1);
            Thread closing = Thread.ofVirtual().start(server.server::close);
            TestServer.await("draining", () -> !server.loop.status().accepting());
            HttpResponse<String> refused = server.post("/v1/completions", "{\"prompt\":\"a\"}");
            assertThat(refused.statusCode()).isEqualTo(503);
            assertThat(refused.headers().firstValue("retry-after")).isPresent();
            assertThat(server.get("/ready").statusCode()).isEqualTo(503);
            assertThat(server.get("/health").statusCode()).isEqualTo(200);
            server.steps.release(1000);
            assertThat(running.join().statusCode()).isEqualTo(200);
            assertThat(TestServer.json(running.join().body()).at("/usage/completion_tokens").intValue()).isEqualTo(20);
            closing.join();
        }
    }

    /** While nothing comes from the engine a stream is kept alive by comments, which clients skip. */
    @Test
    void waitingStreamsArePinged() {
        try (TestServer server = TestServer.stepped(config -> config.pingInterval(Duration.ofMillis(20)), 64)) {
            RawClient client = new RawClient(server).post("/v1/chat/completions",
                    "{'messages':[{'role':'user','content':'a'}],'max_tokens':3,'stream':true}");
            assertThat(client.readUntil(": ping\n\n")).doesNotContain("data:");
            server.steps.release(100);
            assertThat(client.readUntil("0\r\n\r\n")).contains("\"role\":\"assistant\"").endsWith("data: [DONE]\n\n\r\n0\r\n\r\n");
            client.close();
        }
    }

    /** News that show nothing (text held back for a stop string) are no reason to write. */
    @Test
    void nothingIsWrittenForTextThatIsHeldBack() {
        try (TestServer server = new TestServer(engine -> engine.nextToken((sequence, hash) -> ByteTokenizer.id('a')), c -> c)) {
            RawClient client = new RawClient(server).post("/v1/completions",
                    "{'prompt':'a','max_tokens':200,'stream':true,'stop':'" + "a".repeat(199) + "b'}");
            assertThat(client.readUntil("0\r\n\r\n")).doesNotContain(": ping").endsWith("data: [DONE]\n\n\r\n0\r\n\r\n");
            client.close();
        }
    }

    /** What a request leaves behind would show: after the first thousand the live heap grows no more, and no block or request stays. */
    @Test
    void tenThousandShortRequestsLeaveNothing() throws Exception {
        try (TestServer server = new TestServer(engine -> { }, c -> c, 400, new Semaphore(0));
                ExecutorService clients = Executors.newFixedThreadPool(8)) {
            manyRequests(server, clients, 1000);
            long before = liveHeapBytes();
            manyRequests(server, clients, 10_000);
            TestServer.await("all blocks are free", server::isIdle);
            assertThat(liveHeapBytes() - before).isLessThan(4L << 20);
        }
    }

    private static void manyRequests(TestServer server, ExecutorService clients, int count) throws Exception {
        List<Future<?>> done = new ArrayList<>();
        for (int c = 0; c < 8; c++) {
            done.add(clients.submit(() -> {
                try (RawClient client = new RawClient(server)) {
                    for (int i = 0; i < count / 8; i++) {
                        boolean stream = i % 2 == 0;
                        client.post("/v1/completions", "{'prompt':'a','max_tokens':2,'stream':" + stream + "}");
                        client.readUntil(stream ? "0\r\n\r\n" : "cached_tokens\":0}}}");
                    }
                }
            }));
        }
        for (Future<?> part : done) {
            part.get();
        }
    }

    private static long liveHeapBytes() {
        System.gc();
        Runtime runtime = Runtime.getRuntime();
        return runtime.totalMemory() - runtime.freeMemory();
    }
}

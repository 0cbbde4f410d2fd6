package io.millrace.server.endtoend;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.IntNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A real model behind HTTP: what its author published, and the same text whatever happens around a request. */
class StoriesOverHttpTest {
    private static final String MODEL = "models/stories260K/hf-fp32";
    private static final String EXPECTED = "models/stories260K/expected/";
    private static final String[] SMALL = {"max-num-seqs", "16", "kv-cache-memory-bytes", "16MiB", "threads", "2"};

    private static Path model() {
        return RealServer.data(MODEL);
    }

    /** Property: the published text to the last character, streamed and not, ending where the model ends it. */
    @Test
    void publishedText() throws IOException {
        JsonNode known = RealServer.json(EXPECTED + "known_texts.json");
        String full = known.get("greedy_full_text").textValue();
        try (RealServer server = new RealServer(model(), SMALL)) {
            JsonNode answer = server.complete(server.greedy(RealServer.JSON.createArrayNode().add(1), 500));
            assertThat(answer.at("/choices/0/text").textValue()).isEqualTo(full);
            assertThat(answer.at("/choices/0/finish_reason").textValue()).isEqualTo("stop");
            assertThat(answer.at("/usage/prompt_tokens").intValue()).isEqualTo(1);
            assertThat(server.stream(server.greedy(RealServer.JSON.createArrayNode().add(1), 500))).isEqualTo(full);
            assertThat(server.stream(server.greedy(TextNode.valueOf("Once upon a time"), 500))).isEqualTo(full.substring("Once upon a time".length()));
        }
    }

    /** Property: the reference continuations of all prompts, as far as its margins make them certain. */
    @Test
    void referenceContinuations() throws IOException {
        try (RealServer server = new RealServer(model(), SMALL)) {
            for (JsonNode line : RealServer.jsonLines(EXPECTED + "greedy.jsonl")) {
                if (!line.get("weights").textValue().equals("fp32")) {
                    continue;
                }
                int certain = line.path("first_margin_below_0.02").asInt(line.get("output_ids").size());
                int tokens = certain <= 0 ? line.get("output_ids").size() : Math.min(certain, line.get("output_ids").size());
                int[] ids = new int[tokens];
                for (int i = 0; i < tokens; i++) {
                    ids[i] = line.get("output_ids").get(i).intValue();
                }
                int[] prompt = new int[line.get("prompt_ids").size()];
                for (int i = 0; i < prompt.length; i++) {
                    prompt[i] = line.get("prompt_ids").get(i).intValue();
                }
                // The tokenizer has its own golden tests; here it says which text those tokens are.
                var decoder = server.generation.model().tokenizer().decoder(prompt, true);
                StringBuilder expected = new StringBuilder();
                for (int id : ids) {
                    expected.append(decoder.append(id));
                }
                expected.append(decoder.finish());
                String text = server.complete(server.greedy(line.get("prompt_ids"), tokens)).at("/choices/0/text").textValue();
                assertThat(text).as(line.get("prompt").textValue()).isEqualTo(expected.toString());
            }
        }
    }

    /**
     * Property: a request's greedy text is the same alone, among 4 and among 16, in any order, with prompts cut into chunks of 3
     * tokens, and when the KV cache is so small that sequences lose their blocks and are recomputed.
     */
    @ParameterizedTest(name = "{0} at once, {1}")
    @CsvSource({"1, max-prefill-chunk=512, false", "4, max-prefill-chunk=512, false", "16, max-prefill-chunk=512, false",
        "16, max-prefill-chunk=3, false", "16, num-gpu-blocks-override=34, true"})
    void sameTextInAnyCompany(int clients, String setting, boolean preempts) throws Exception {
        List<String> prompts = List.of("Once upon a time", "The dog", "Lily and her mom went to the park", "One day, a big bear", "Tim had a red ball",
                "It was a sunny day and", "A little girl named Sue", "The cat sat");
        List<String> expected = new ArrayList<>();
        try (RealServer alone = new RealServer(model(), SMALL)) {
            prompts.forEach(prompt -> expected.add(alone.stream(alone.greedy(TextNode.valueOf(prompt), 120))));
        }
        String[] flags = {"max-num-seqs", "16", "threads", "2", setting.split("=")[0], setting.split("=")[1]};
        try (RealServer server = new RealServer(model(), flags); ExecutorService pool = Executors.newFixedThreadPool(clients)) {
            List<Integer> order = new ArrayList<>();
            for (int i = 0; i < 32; i++) {
                order.add(i % prompts.size());
            }
            Collections.shuffle(order, new Random(clients));
            List<Future<String>> texts = order.stream()
                    .map(i -> pool.submit(() -> server.stream(server.greedy(TextNode.valueOf(prompts.get(i)), 120)))).toList();
            for (int i = 0; i < order.size(); i++) {
                assertThat(texts.get(i).get()).as("request %d: %s", i, prompts.get(order.get(i))).isEqualTo(expected.get(order.get(i)));
            }
            if (preempts) {
                assertThat(server.generation.service().status().numPreemptions()).as("this test must preempt").isPositive();
            }
            server.generation.checkIntegrity();
            var status = server.generation.service().status();
            assertThat(status.numFreeBlocks()).isEqualTo(status.numBlocks());
        }
    }

    /** Property: of 200 streaming clients half vanish; no block leaks, the others get their text, the next request is answered within a second. */
    @Test
    void halfOfTwoHundredClientsVanish() throws Exception {
        try (RealServer server = new RealServer(model(), "max-num-seqs", "32", "kv-cache-memory-bytes", "16MiB", "threads", "2");
                ExecutorService pool = Executors.newVirtualThreadPerTaskExecutor()) {
            String expected = server.stream(server.greedy(TextNode.valueOf("Once upon a time"), 60));
            List<Future<String>> staying = new ArrayList<>();
            List<Future<Void>> leaving = new ArrayList<>();
            for (int i = 0; i < 100; i++) {
                staying.add(pool.submit(() -> server.stream(server.greedy(TextNode.valueOf("Once upon a time"), 60))));
                leaving.add(pool.submit(() -> VanishingClient.readAndLeave(server.http.port(),
                        server.greedy(TextNode.valueOf("Lily and her mom"), 400).put("stream", true).set("ignore_eos", RealServer.JSON.valueToTree(true)))));
            }
            for (Future<Void> client : leaving) {
                client.get();
            }
            for (Future<String> client : staying) {
                assertThat(client.get()).isEqualTo(expected);
            }
            long start = System.nanoTime();
            assertThat(server.stream(server.greedy(TextNode.valueOf("Once upon a time"), 1))).isNotEmpty();
            assertThat((System.nanoTime() - start) / 1e9).as("seconds until the next request was answered").isLessThan(1);
            long deadline = System.nanoTime() + 10_000_000_000L;
            var status = server.generation.service().status();
            while ((status.numRunning() > 0 || status.numWaiting() > 0) && System.nanoTime() < deadline) {
                Thread.onSpinWait();
                status = server.generation.service().status();
            }
            server.generation.checkIntegrity();
            status = server.generation.service().status();
            assertThat(status.numFreeBlocks()).isEqualTo(status.numBlocks());
            assertThat(status.numRunning() + status.numWaiting()).isZero();
        }
    }

    /** Property: what cannot be served is refused with a clear answer and the server goes on. */
    @Test
    void refusalsWithARealModel() {
        try (RealServer server = new RealServer(model(), SMALL)) {
            List<JsonNode> bad = List.of(RealServer.JSON.createArrayNode().add(512), RealServer.JSON.createArrayNode().add(-1),
                    TextNode.valueOf("word ".repeat(600)), IntNode.valueOf(3));
            for (JsonNode prompt : bad) {
                org.assertj.core.api.Assertions.assertThatThrownBy(() -> server.complete(server.greedy(prompt, 5))).hasMessageContaining("HTTP 400");
            }
            assertThat(server.stream(server.greedy(TextNode.valueOf("Once upon a time"), 5))).isNotEmpty();
        }
    }
}

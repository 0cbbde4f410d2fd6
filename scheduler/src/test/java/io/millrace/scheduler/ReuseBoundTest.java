package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.SamplingParams;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/**
 * Property: where memory suffices, the tokens reused come within two points of what a cache without limits could reuse, request after
 * request in order of arrival, at the granularity of blocks; requests run side by side, so that part of what they share is only being
 * computed when they come. Bound and result count every prompt token.
 */
class ReuseBoundTest {
    private static final int BLOCK = 16;
    private static final Pattern TURNS = Pattern.compile("\"turns\": \\[\"((?:[^\"\\\\]++|\\\\.)*+)\", \"((?:[^\"\\\\]++|\\\\.)*+)\"\\]");

    /** What was ever computed, block by block, each with all in front of it. */
    private static final class UnlimitedCache {
        private final Set<List<Integer>> prefixes = new HashSet<>();

        /** Full blocks at the front of {@code tokens}, in tokens; the last token is always computed. */
        int reusable(int[] tokens) {
            int found = 0;
            while (found + BLOCK < tokens.length && prefixes.contains(prefix(tokens, found + BLOCK))) {
                found += BLOCK;
            }
            return found;
        }

        void add(int[] tokens, int numComputed) {
            for (int end = BLOCK; end <= numComputed; end += BLOCK) {
                prefixes.add(prefix(tokens, end));
            }
        }

        /** Told apart by length, last block and hash: chance does not make two of a few thousand equal. */
        private static List<Integer> prefix(int[] tokens, int end) {
            int[] front = Arrays.copyOf(tokens, end);
            return List.of(end, Arrays.hashCode(front), Arrays.hashCode(Arrays.copyOfRange(front, end - BLOCK, end)));
        }
    }

    private static Harness harness() {
        return new Harness(FakeEngine.builder().vocabSize(1 << 16).maxModelLen(4096).maxNumSeqs(32).maxNumBatchedTokens(512).blocks(12_000, BLOCK), 256);
    }

    private static void expectWithinTwoPoints(String name, Harness h, long bound) {
        long prompt = h.requests.stream().mapToLong(RequestState::numPromptTokens).sum();
        long reused = h.requests.stream().mapToLong(RequestState::numCachedTokens).sum();
        System.out.printf("%s: %d requests, %d prompt tokens, reused %.2f %%, unlimited cache %.2f %%, %d steps%n", name, h.requests.size(), prompt,
                100.0 * reused / prompt, 100.0 * bound / prompt, h.numSteps);
        assertThat(100.0 * reused / prompt).isGreaterThan(100.0 * bound / prompt - 2);
        assertThat(h.scheduler.progress().numPreemptions).as("memory suffices").isZero();
    }

    @Test
    void tenantsWithSystemPromptsInBursts() {
        Random random = new Random(7);
        int[][] systems = new int[8][];
        for (int i = 0; i < systems.length; i++) {
            systems[i] = Harness.prompt(100 + i, 150 + 100 * i);
        }
        UnlimitedCache cache = new UnlimitedCache();
        Harness h = harness();
        long bound = 0;
        for (int i = 0; i < 400; i++) {
            int[] system = systems[random.nextInt(systems.length)];
            int[] prompt = Arrays.copyOf(system, system.length + 20 + random.nextInt(200));
            System.arraycopy(Harness.prompt(1000 + i, prompt.length - system.length), 0, prompt, system.length, prompt.length - system.length);
            bound += cache.reusable(prompt);
            cache.add(prompt, prompt.length);
            h.submit(prompt, SamplingParams.greedy(1 + random.nextInt(60)));
            // Bursts of some twenty at once, then a pause.
            for (int s = random.nextInt(20) == 0 ? 40 : 0; s > 0; s--) {
                h.step();
            }
        }
        h.drain();
        expectWithinTwoPoints("bursts over 8 system prompts", h, bound);
        h.requests.forEach(h::expectOutput);
    }

    @Test
    void mtBenchConversationsOfTwoTurns() throws IOException {
        Path file = Path.of(System.getProperty("millrace.data", "absent"), "traces", "mt_bench_questions.jsonl");
        assumeTrue(Files.isReadable(file), "no questions at " + file + "; set -Dmillrace.data to replay them");
        int[] system = Harness.prompt(1, 60);
        List<int[]> second = new ArrayList<>();
        UnlimitedCache cache = new UnlimitedCache();
        Harness h = harness();
        long bound = 0;
        List<RequestState> first = new ArrayList<>();
        for (String line : Files.readAllLines(file)) {
            Matcher turns = TURNS.matcher(line);
            assertThat(turns.find()).as(line).isTrue();
            int[] prompt = concat(system, tokens(turns.group(1)));
            bound += cache.reusable(prompt);
            cache.add(prompt, prompt.length);
            first.add(h.submit(prompt, SamplingParams.greedy(150 + line.length() % 200)));
            second.add(tokens(turns.group(2)));
        }
        h.drain();
        List<Integer> order = new ArrayList<>();
        for (int i = 0; i < first.size(); i++) {
            int[] all = first.get(i).sequence.tokenIds();
            // The last token drawn was never computed.
            cache.add(all, first.get(i).sequence.numTokens() - 1);
            order.add(i);
        }
        Collections.shuffle(order, new Random(3));
        for (int i : order) {
            RequestState r = first.get(i);
            int[] prompt = concat(Arrays.copyOf(r.sequence.tokenIds(), r.sequence.numTokens()), second.get(i));
            bound += cache.reusable(prompt);
            cache.add(prompt, prompt.length);
            h.submit(prompt, SamplingParams.greedy(100));
        }
        h.drain();
        assertThat(h.requests).hasSize(160);
        expectWithinTwoPoints("MT-bench, two turns", h, bound);
        h.requests.forEach(h::expectOutput);
    }

    /** A word is a token: its hash. */
    private static int[] tokens(String text) {
        return Arrays.stream(text.split("(?<=\\W)|(?=\\W)")).mapToInt(word -> 3 + Math.floorMod(word.hashCode() * 31, (1 << 16) - 3)).toArray();
    }

    private static int[] concat(int[] a, int[] b) {
        int[] all = Arrays.copyOf(a, a.length + b.length);
        System.arraycopy(b, 0, all, a.length, b.length);
        return all;
    }
}

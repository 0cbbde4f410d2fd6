package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.SamplingParams;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Property: the same trace gives the same schedule, plan by plan, and every request its own tokens. */
class TraceReplayTest {
    private static final Pattern LINE = Pattern.compile("\"t_ms\": (\\d+), \"in\": (\\d+), \"out\": (\\d+)");

    private record Arrival(long millis, int numPrompt, int numOutput) {}

    @ParameterizedTest
    @ValueSource(strings = {"small_azure_conv.jsonl", "small_azure_code.jsonl"})
    void aTraceIsReplayedIdenticallyTwice(String name) throws IOException {
        Path file = Path.of(System.getProperty("millrace.data", "absent"), "traces", name);
        assumeTrue(Files.isReadable(file), "no trace at " + file + "; set -Dmillrace.data to replay real arrivals");
        List<Arrival> arrivals = Files.readAllLines(file).stream().map(TraceReplayTest::parse).toList();
        Harness first = replay(arrivals);
        Harness second = replay(arrivals);
        assertThat(second.scheduleHash).isEqualTo(first.scheduleHash);
        assertThat(second.nanos).isEqualTo(first.nanos);
        if (name.contains("conv")) {
            // The other trace has short outputs, which never outgrow what admission leaves free.
            assertThat(first.scheduler.progress().numPreemptions).as("preemptions").isPositive();
        }
        first.requests.forEach(first::expectOutput);
        System.out.printf("%s: %d requests, %d steps, %d preemptions, %.1f s of virtual time%n", name, first.requests.size(),
                first.numSteps, first.scheduler.progress().numPreemptions, first.nanos * 1e-9);
    }

    private static Arrival parse(String line) {
        Matcher m = LINE.matcher(line);
        assertThat(m.find()).as(line).isTrue();
        // Ten times the load of the record.
        return new Arrival(Long.parseLong(m.group(1)) / 10, Integer.parseInt(m.group(2)), Integer.parseInt(m.group(3)));
    }

    /** A machine slow enough that the load piles up: 20 ms a step and 0.2 ms a token, with too few blocks for all. */
    private static Harness replay(List<Arrival> arrivals) {
        Harness h = new Harness(FakeEngine.builder().maxModelLen(513).maxNumSeqs(16).blocks(40, 16).maxNumBatchedTokens(128), 64);
        h.nanosPerStep = 20_000_000;
        h.nanosPerToken = 200_000;
        int next = 0;
        while (next < arrivals.size() || h.scheduler.hasWork()) {
            if (!h.scheduler.hasWork()) {
                h.nanos = Math.max(h.nanos, arrivals.get(next).millis * 1_000_000);
            }
            for (; next < arrivals.size() && arrivals.get(next).millis * 1_000_000 <= h.nanos; next++) {
                Arrival a = arrivals.get(next);
                h.submit(Harness.prompt(next, a.numPrompt), SamplingParams.greedy(a.numOutput));
            }
            h.step();
        }
        h.drain();
        return h;
    }
}

package io.millrace.server.endtoend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Property: a whole server that has nothing to do costs nothing: engine thread, thread team, watchdogs and connections together. */
@Timeout(120)
class IdleServerTest {
    private static final Duration WINDOW = Duration.ofSeconds(1);
    /** Two clock ticks; a single spinning thread takes a hundred. */
    private static final Duration ALLOWED = Duration.ofMillis(20);
    /** So many windows side by side are within what is allowed: a single one may lie between two bursts of work. */
    private static final int QUIET_WINDOWS = 3;
    /** What the JVM has still to do after start and first request, compile above all, is done before the last of these. */
    private static final int MAX_WINDOWS = 15;

    @Test
    void idleServerUsesNoProcessorTime() throws Exception {
        try (ServerProcess server = ServerProcess.start()) {
            assertThat(server.post("/v1/completions", "{\"prompt\":\"Once upon a time\",\"max_tokens\":20}").statusCode()).isEqualTo(200);
            Optional<Duration> known = server.process.info().totalCpuDuration();
            assumeTrue(known.isPresent(), "this system does not tell a process's processor time");
            List<Duration> used = new ArrayList<>();
            do {
                Duration before = server.process.info().totalCpuDuration().orElseThrow();
                for (long end = System.nanoTime() + WINDOW.toNanos(); System.nanoTime() < end;) {
                    LockSupport.parkNanos(end - System.nanoTime());
                }
                used.add(server.process.info().totalCpuDuration().orElseThrow().minus(before));
            } while (!quiet(used) && used.size() < MAX_WINDOWS);
            System.out.println("idle server: processor time in windows of " + WINDOW + ": " + used);
            assertThat(quiet(used)).as("the last %d of the windows %s take at most %s of processor time each", QUIET_WINDOWS, used, ALLOWED).isTrue();
            assertThat(server.get("/health").statusCode()).isEqualTo(200);
        }
    }

    private static boolean quiet(List<Duration> used) {
        return used.size() >= QUIET_WINDOWS
                && used.subList(used.size() - QUIET_WINDOWS, used.size()).stream().allMatch(window -> window.compareTo(ALLOWED) <= 0);
    }
}

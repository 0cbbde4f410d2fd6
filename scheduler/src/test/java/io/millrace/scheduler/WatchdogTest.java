package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Property: a stall is reported once and its end once, whatever is only slow is no stall, and a lasting one ends the requests. Virtual time. */
class WatchdogTest {
    private static final Logger LOG = Logger.getLogger("io.millrace.scheduler");
    private static final long SECOND = 1_000_000_000L;

    /** An engine that finishes a step at {@code lastStep} and has work since {@code workSince}. */
    private static final class Scripted implements Watchdog.Patient {
        long workSince = -1;
        long lastStep;
        long steps;
        long slowest;
        boolean replaceable = true;
        String callee;
        final List<String> abandoned = new ArrayList<>();

        void step(long now) {
            lastStep = now;
            steps++;
        }

        @Override
        public long stalledNanos(long now) {
            return workSince < 0 ? 0 : Math.min(now - workSince, now - lastStep);
        }

        @Override
        public long numSteps() {
            return steps;
        }

        @Override
        public long slowestStepNanos() {
            return slowest;
        }

        @Override
        public String describe() {
            return "the state";
        }

        @Override
        public String interruptCall() {
            return callee;
        }

        @Override
        public boolean abandon(long stalledNanos, String message) {
            if (replaceable) {
                abandoned.add(message);
            }
            return replaceable;
        }
    }

    private final List<String> log = new ArrayList<>();
    private final Handler handler = new Handler() {
        @Override
        public void publish(LogRecord entry) {
            log.add(entry.getLevel() + " " + entry.getMessage());
        }

        @Override
        public void flush() {}

        @Override
        public void close() {}
    };
    private final Scripted engine = new Scripted();
    private final Watchdog watchdog = new Watchdog(engine, Duration.ofSeconds(8), Thread.currentThread(), 0);
    private long now;

    @BeforeEach
    void listen() {
        LOG.setUseParentHandlers(false);
        LOG.setLevel(Level.ALL);
        LOG.addHandler(handler);
    }

    @AfterEach
    void leave() {
        LOG.removeHandler(handler);
        LOG.setUseParentHandlers(true);
        LOG.setLevel(null);
    }

    private void lookUntil(long seconds) {
        while (now < seconds * SECOND) {
            now += watchdog.intervalNanos();
            watchdog.look(now);
        }
    }

    @Test
    void aStallIsToldOnceAndSoIsItsEnd() {
        engine.workSince = 0;
        engine.step(SECOND);
        lookUntil(9);
        assertThat(watchdog.stall()).isNull();
        lookUntil(20);
        assertThat(watchdog.stall()).contains("the limit is 8.0 s");
        assertThat(log).singleElement().asString().startsWith("SEVERE SCH-018").contains("the state", "thread ", "WatchdogTest");
        engine.step(now);
        lookUntil(22);
        assertThat(watchdog.stall()).isNull();
        assertThat(log).hasSize(2).last().asString().startsWith("WARNING SCH-018").contains("advance again");
        assertThat(engine.abandoned).isEmpty();
        engine.step(now);
        lookUntil(40);
        assertThat(log).as("a second incident is told anew").hasSize(3);
    }

    @Test
    void idlenessIsNoStall() {
        lookUntil(1000);
        engine.workSince = now;
        engine.lastStep = 0;
        lookUntil(1007);
        assertThat(watchdog.stall()).isNull();
        assertThat(log).isEmpty();
        engine.workSince = -1;
        lookUntil(2000);
        assertThat(log).isEmpty();
    }

    /** Steps of six seconds are slow; the next one may take a minute before it is taken to hang. */
    @Test
    void slowStepsAreNoStall() {
        engine.workSince = 0;
        engine.slowest = 6 * SECOND;
        lookUntil(60);
        assertThat(log).isEmpty();
        lookUntil(70);
        assertThat(watchdog.stall()).contains("the limit is 60 s");
    }

    /** A stall of a quarter of an hour that passed does not hide the next one for hours. */
    @Test
    void aStallThatPassedHidesNoOther() {
        engine.workSince = 0;
        engine.slowest = 900 * SECOND;
        lookUntil(80);
        assertThat(log).isEmpty();
        lookUntil(90);
        assertThat(watchdog.stall()).contains("the limit is 80 s");
    }

    /** A process that was suspended for an hour finds its step an hour old; that says nothing about the engine. */
    @Test
    void timeInWhichNobodyRanDoesNotCount() {
        engine.workSince = 0;
        lookUntil(2);
        now += 3600 * SECOND;
        watchdog.look(now);
        lookUntil(3604);
        assertThat(log).isEmpty();
        lookUntil(3615);
        assertThat(log).as("but what hangs afterwards is seen").hasSize(1);
    }

    @Test
    void aLastingStallEndsTheRequests() {
        engine.workSince = 0;
        lookUntil(24);
        assertThat(engine.abandoned).isEmpty();
        lookUntil(30);
        assertThat(engine.abandoned).as("asked again at each look, for those that came in since").hasSizeGreaterThan(2)
                .allSatisfy(message -> assertThat(message).startsWith("SCH-019"));
        assertThat(log).hasSize(2).last().asString().contains("SCH-019", "all requests have been ended");
        engine.workSince = -1;
        lookUntil(32);
        assertThat(watchdog.stall()).isNull();
        assertThat(log).hasSize(3);
    }

    @Test
    void anEngineThreadThatHangsElsewhereIsOnlyTold() {
        engine.workSince = 0;
        engine.replaceable = false;
        lookUntil(60);
        assertThat(log).hasSize(2).last().asString().contains("cannot be ended in its place");
        assertThat(watchdog.stall()).isNotNull();
    }
}

package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * Races at the hand-over between other threads and the engine thread, provoked many thousand times from a common start: push against park,
 * push against close, stand-in against return, look against return. A second each; {@code scripts/stress} runs them, and {@link EngineLoopStressTest}, longer.
 */
@Timeout(1200)
class HandOverStressTest {
    private static final long NANOS = Long.getLong("millrace.stress.seconds", 1) * 1_000_000_000L;

    /** Notes how often it was run and refused. */
    private static final class Counted extends CommandQueue.Command {
        private final AtomicIntegerArray fates;
        private final int at;

        Counted(AtomicIntegerArray fates, int at) {
            this.fates = fates;
            this.at = at;
        }

        @Override
        void run() {
            fates.getAndAdd(at, 1);
        }

        @Override
        void refuse() {
            fates.getAndAdd(at, 100);
        }
    }

    private static Thread start(CyclicBarrier barrier, List<Throwable> failures, Runnable body) {
        return Thread.ofPlatform().start(() -> {
            try {
                barrier.await();
                body.run();
            } catch (Throwable t) {
                synchronized (failures) {
                    failures.add(t);
                }
            }
        });
    }

    /** Property: a command that was taken is run or refused exactly once, in its producer's order; one that was not taken, never. */
    @Test
    void everyCommandHasOneFateWheneverTheQueueCloses() throws Exception {
        int producers = 3;
        int each = 40;
        long end = System.nanoTime() + NANOS;
        long rounds = 0;
        long refusedAtTheDoor = 0;
        while (System.nanoTime() < end) {
            CommandQueue queue = new CommandQueue();
            AtomicIntegerArray fates = new AtomicIntegerArray(producers * each);
            boolean[] taken = new boolean[producers * each];
            List<Throwable> failures = new ArrayList<>();
            CyclicBarrier barrier = new CyclicBarrier(producers + 1);
            int closeAfter = (int) (rounds % (producers * each));
            List<Thread> threads = new ArrayList<>();
            Thread consumer = start(barrier, failures, () -> {
                for (int numRun = 0; numRun < closeAfter; ) {
                    for (CommandQueue.Command c = queue.takeAll(); c != null; c = c.next()) {
                        c.run();
                        numRun++;
                    }
                    if (numRun < closeAfter) {
                        // All commands will come: were a wake-up lost, this would last for ever.
                        queue.await();
                    }
                }
                for (CommandQueue.Command c = queue.close(); c != null; c = c.next()) {
                    c.refuse();
                }
            });
            queue.setConsumer(consumer);
            threads.add(consumer);
            for (int p = 0; p < producers; p++) {
                int first = p * each;
                threads.add(start(barrier, failures, () -> {
                    for (int i = first; i < first + each; i++) {
                        taken[i] = queue.push(new Counted(fates, i));
                    }
                }));
            }
            for (Thread thread : threads) {
                thread.join(20_000);
                assertThat(thread.isAlive()).as("round %d: a thread waits for ever", rounds).isFalse();
            }
            assertThat(failures).isEmpty();
            for (int i = 0; i < taken.length; i++) {
                assertThat(fates.get(i)).as("round %d, command %d, taken %s", rounds, i, taken[i]).isIn(taken[i] ? List.of(1, 100) : List.of(0));
                refusedAtTheDoor += taken[i] ? 0 : 1;
            }
            rounds++;
        }
        System.out.printf("%d rounds, %d of %d commands came too late%n", rounds, refusedAtTheDoor, rounds * producers * each);
        assertThat(rounds).isPositive();
    }

    /** Property: one command at a time and an engine thread that parks in between: each is seen, at once. */
    @Test
    void noWakeUpIsLost() throws Exception {
        CommandQueue queue = new CommandQueue();
        AtomicIntegerArray seen = new AtomicIntegerArray(1);
        Thread consumer = Thread.ofPlatform().unstarted(() -> {
            for (boolean closing = false; !closing; ) {
                for (CommandQueue.Command c = queue.takeAll(); c != null; c = c.next()) {
                    c.run();
                    closing |= !(c instanceof Counted);
                }
                if (!closing) {
                    queue.await();
                }
            }
        });
        queue.setConsumer(consumer);
        consumer.start();
        long end = System.nanoTime() + NANOS;
        int sent = 0;
        while (System.nanoTime() < end) {
            queue.push(new Counted(seen, 0));
            sent++;
            for (long since = System.nanoTime(); seen.get(0) < sent; ) {
                assertThat(System.nanoTime() - since).as("command %d was not seen", sent).isLessThan(20_000_000_000L);
                Thread.onSpinWait();
            }
            // Sometimes long enough for it to park, sometimes on its way there.
            for (int spin = sent % 400; spin > 0; spin--) {
                Thread.onSpinWait();
            }
        }
        queue.push(new CommandQueue.Command() {
            @Override
            void run() {}

            @Override
            void refuse() {}
        });
        consumer.join(20_000);
        assertThat(consumer.isAlive()).isFalse();
        System.out.printf("%d commands, one at a time%n", sent);
    }

    /** Property: a stand-in and the engine thread are never at the scheduler's state together, and each sees what the other wrote. */
    @Test
    void aStandInIsAlone() throws Exception {
        StepGuard guard = new StepGuard();
        // Plain fields on purpose: lost updates show a lack of exclusion or of visibility.
        long[] state = new long[2];
        long[] standIns = new long[2];
        long end = System.nanoTime() + NANOS;
        List<Throwable> failures = new ArrayList<>();
        CyclicBarrier barrier = new CyclicBarrier(3);
        List<Thread> threads = new ArrayList<>();
        for (int t = 0; t < 2; t++) {
            int me = t;
            threads.add(start(barrier, failures, () -> {
                while (System.nanoTime() < end) {
                    Boolean tookOver = guard.inItsPlace(() -> {
                        assertThat(state[0]).isEqualTo(state[1]);
                        state[0]++;
                        Thread.onSpinWait();
                        state[1]++;
                        return true;
                    });
                    standIns[me] += tookOver == null ? 0 : 1;
                    LockSupport.parkNanos(1);
                }
            }));
        }
        long[] steps = new long[1];
        threads.add(start(barrier, failures, () -> {
            while (System.nanoTime() < end) {
                guard.enter();
                Thread.onSpinWait();
                guard.leave();
                assertThat(state[0]).isEqualTo(state[1]);
                state[0]++;
                state[1]++;
                steps[0]++;
            }
            guard.enter();
        }));
        for (Thread thread : threads) {
            thread.join(NANOS / 1_000_000 + 20_000);
            assertThat(thread.isAlive()).isFalse();
        }
        assertThat(failures).isEmpty();
        assertThat(state[0]).isEqualTo(steps[0] + standIns[0] + standIns[1]);
        assertThat(standIns[0] + standIns[1]).isPositive();
        System.out.printf("%d steps, %d stand-ins%n", steps[0], standIns[0] + standIns[1]);
    }

    /**
     * Property: the same for who looks at a call into a sink or the listener. The engine thread pays no barrier for it ({@link RequestEvents}); without
     * what the one who looks does in its stead, this fails within seconds.
     */
    @Test
    void whoLooksAtACallIsAlone() throws Exception {
        long[] state = new long[2];
        long[] numLooks = new long[1];
        long end = System.nanoTime() + NANOS;
        RequestEvents events = new RequestEvents(new SchedulerListener() {
            @Override
            public void onAdmitted(long number) {
                if (number == 0) {
                    Thread.yield();
                }
            }
        });
        List<Throwable> failures = new ArrayList<>();
        CyclicBarrier barrier = new CyclicBarrier(2);
        long[] numCalls = new long[1];
        Thread engine = start(barrier, failures, () -> {
            while (System.nanoTime() < end) {
                if (state[0]++ != state[1]) {
                    throw new AssertionError("back from a call while somebody looked at it");
                }
                // Of no length, mostly, so that looks come in front of it and behind it; some are long enough to be looked at.
                events.admitted(numCalls[0]++ % 8);
                state[0]--;
            }
        });
        Thread looker = start(barrier, failures, () -> {
            while (System.nanoTime() < end) {
                events.duringCall(engine, callee -> {
                    // As the engine thread left it when it went into the call, and it stays there.
                    assertThat(state[0]).isEqualTo(state[1] + 1);
                    state[0]++;
                    state[1]++;
                    Thread.onSpinWait();
                    assertThat(state[0]).isEqualTo(state[1] + 1);
                    numLooks[0]++;
                    return true;
                });
            }
        });
        for (Thread thread : List.of(engine, looker)) {
            thread.join(NANOS / 1_000_000 + 20_000);
            assertThat(thread.isAlive()).isFalse();
        }
        assertThat(failures).isEmpty();
        assertThat(state[0]).isEqualTo(state[1]).isEqualTo(numLooks[0]);
        assertThat(numLooks[0]).isPositive();
        System.out.printf("%d calls, %d looks at one%n", numCalls[0], numLooks[0]);
    }
}

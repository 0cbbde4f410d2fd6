package io.millrace.scheduler;

import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Arbiter;
import org.openjdk.jcstress.annotations.Expect;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Mode;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.Signal;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.III_Result;
import org.openjdk.jcstress.infra.results.II_Result;

/** The hand-over between other threads and the engine thread, every order of its few instructions: {@code scripts/jcstress}. */
public final class HandOverJcstress {
    private HandOverJcstress() {}

    private static final class Numbered extends CommandQueue.Command {
        final int number;

        Numbered(int number) {
            this.number = number;
        }

        @Override
        void run() {}

        @Override
        void refuse() {}
    }

    /** The numbers of a chain as digits, first to last; 0 = none. */
    private static int digits(CommandQueue.Command command) {
        int digits = 0;
        for (; command != null; command = command.next()) {
            digits = 10 * digits + ((Numbered) command).number;
        }
        return digits;
    }

    @JCStressTest
    @Outcome(id = "1, 1", expect = Expect.ACCEPTABLE, desc = "taken, and there when the queue closes")
    @Outcome(id = "0, 0", expect = Expect.ACCEPTABLE, desc = "refused")
    @Outcome(expect = Expect.FORBIDDEN, desc = "taken and lost, or refused and run")
    @State
    public static class PushAgainstClose {
        private final CommandQueue queue = new CommandQueue();

        @Actor
        public void producer(II_Result r) {
            r.r1 = queue.push(new Numbered(1)) ? 1 : 0;
        }

        @Actor
        public void engine(II_Result r) {
            r.r2 = digits(queue.close());
        }
    }

    @JCStressTest
    @Outcome(id = {"0, 12", "1, 2", "12, 0"}, expect = Expect.ACCEPTABLE, desc = "each once, in order")
    @Outcome(expect = Expect.FORBIDDEN, desc = "lost, doubled or out of order")
    @State
    public static class PushAgainstTake {
        private final CommandQueue queue = new CommandQueue();

        @Actor
        public void producer() {
            queue.push(new Numbered(1));
            queue.push(new Numbered(2));
        }

        @Actor
        public void engine(II_Result r) {
            r.r1 = digits(queue.takeAll());
        }

        @Arbiter
        public void rest(II_Result r) {
            r.r2 = digits(queue.close());
        }
    }

    /** Needs three processors, as the last one does. */
    @JCStressTest
    @Outcome(id = {"0, 123", "0, 132", "0, 312", "1, 23", "1, 32", "3, 12", "12, 3", "13, 2", "31, 2", "123, 0", "132, 0", "312, 0"},
            expect = Expect.ACCEPTABLE, desc = "each once, 1 before 2")
    @Outcome(expect = Expect.FORBIDDEN, desc = "lost, doubled or out of the producer's order")
    @State
    public static class TwoProducersAgainstTake {
        private final CommandQueue queue = new CommandQueue();

        @Actor
        public void first() {
            queue.push(new Numbered(1));
            queue.push(new Numbered(2));
        }

        @Actor
        public void second() {
            queue.push(new Numbered(3));
        }

        @Actor
        public void engine(II_Result r) {
            r.r1 = digits(queue.takeAll());
        }

        @Arbiter
        public void rest(II_Result r) {
            r.r2 = digits(queue.close());
        }
    }

    @JCStressTest(Mode.Termination)
    @Outcome(id = "TERMINATED", expect = Expect.ACCEPTABLE, desc = "woken, or never parked")
    @Outcome(id = "STALE", expect = Expect.FORBIDDEN, desc = "a lost wake-up: the engine thread sleeps beside a command")
    @State
    public static class PushAgainstPark {
        private final CommandQueue queue = new CommandQueue();

        @Actor
        public void engine() {
            queue.setConsumer(Thread.currentThread());
            while (queue.takeAll() == null) {
                queue.await();
            }
        }

        @Signal
        public void producer() {
            queue.push(new Numbered(1));
        }
    }

    @JCStressTest
    @Outcome(id = {"0, 1", "1, 2"}, expect = Expect.ACCEPTABLE, desc = "each saw what the other had written")
    @Outcome(expect = Expect.FORBIDDEN, desc = "both at the scheduler's state at once")
    @State
    public static class StandInAgainstReturn {
        private final StepGuard guard = new StepGuard();
        private int state;

        @Actor
        public void engine() {
            guard.enter();
            guard.leave();
            state++;
        }

        @Actor
        public void watchdog(II_Result r) {
            r.r1 = guard.inItsPlace(() -> ++state) == null ? 0 : 1;
        }

        @Arbiter
        public void sum(II_Result r) {
            r.r2 = state;
        }
    }

    @JCStressTest
    @Outcome(id = {"0, 0, 1", "1, 0, 2", "0, 1, 2", "1, 1, 3"}, expect = Expect.ACCEPTABLE, desc = "each saw what the others had written")
    @Outcome(expect = Expect.FORBIDDEN, desc = "two at the scheduler's state at once")
    @State
    public static class StandInsAgainstReturn {
        private final StepGuard guard = new StepGuard();
        private int state;

        @Actor
        public void engine() {
            guard.enter();
            guard.leave();
            state++;
        }

        @Actor
        public void watchdog(III_Result r) {
            r.r1 = guard.inItsPlace(() -> ++state) == null ? 0 : 1;
        }

        @Actor
        public void shutdown(III_Result r) {
            r.r2 = guard.inItsPlace(() -> ++state) == null ? 0 : 1;
        }

        @Arbiter
        public void sum(III_Result r) {
            r.r3 = state;
        }
    }
}

package io.millrace.telemetry;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

class PulseRingTest {
    private static void write(PulseRing ring, long step) {
        ring.begin(step, step * 10);
        ring.set(PulseField.TOKENS, step * 3);
        ring.set(PulseField.KV_BLOCKS_USED, ~step);
        ring.commit();
    }

    @Test
    void aReaderSeesEachRecordOnceAndInOrder() {
        PulseRing ring = new PulseRing(3, 8);
        PulseReader reader = ring.reader();
        ShardPulse pulse = new ShardPulse();
        assertThat(reader.poll(pulse)).isFalse();
        for (long step = 1; step <= 100; step++) {
            write(ring, step);
            assertThat(reader.poll(pulse)).isTrue();
            assertThat(pulse.rank()).isEqualTo(3);
            assertThat(pulse.get(PulseField.STEP_ID)).isEqualTo(step);
            assertThat(pulse.get(PulseField.START_NANOS)).isEqualTo(step * 10);
            assertThat(pulse.get(PulseField.TOKENS)).isEqualTo(step * 3);
            assertThat(pulse.get(PulseField.CPU_NANOS)).as("what was not set is 0, not the old record's").isZero();
            assertThat(reader.poll(pulse)).isFalse();
        }
        assertThat(reader.numLost()).isZero();
        assertThat(pulse.toString()).contains("rank 3", "STEP_ID=100");
    }

    @Test
    void aSlowReaderLosesTheOldestAndIsToldHowMany() {
        PulseRing ring = new PulseRing(0, 8);
        PulseReader reader = ring.reader();
        for (long step = 0; step < 20; step++) {
            write(ring, step);
        }
        ShardPulse pulse = new ShardPulse();
        for (long step = 13; step < 20; step++) {
            assertThat(reader.poll(pulse)).isTrue();
            if (step == 13) {
                // The newest 7 are promised; the slot of the eighth may be in the writer's hands.
                assertThat(pulse.get(PulseField.STEP_ID)).isEqualTo(13);
            }
        }
        assertThat(reader.poll(pulse)).isFalse();
        assertThat(reader.numLost()).isEqualTo(13);
        assertThat(ring.numCommitted()).isEqualTo(20);
    }

    @Test
    void anOpenRecordIsInvisibleAndMayBeDiscarded() {
        PulseRing ring = new PulseRing(0, 4);
        PulseReader reader = ring.reader();
        ShardPulse pulse = new ShardPulse();
        ring.begin(1, 0);
        ring.set(PulseField.TOKENS, 7);
        assertThat(reader.poll(pulse)).isFalse();
        ring.begin(2, 0);
        ring.commit();
        assertThat(reader.poll(pulse)).isTrue();
        assertThat(pulse.get(PulseField.STEP_ID)).isEqualTo(2);
        assertThat(pulse.get(PulseField.TOKENS)).isZero();
        assertThatThrownBy(ring::commit).hasMessageContaining("TM-002");
        assertThatThrownBy(() -> ring.set(PulseField.TOKENS, 1)).hasMessageContaining("TM-002");
        assertThatThrownBy(() -> new PulseRing(0, 12)).hasMessageContainingAll("TM-001", "12");
    }

    /** A writer that never waits, two readers: every record read is whole, in order, and read plus lost is written. */
    @Test
    @Timeout(60)
    void concurrentReadersSeeOnlyWholeRecords() throws InterruptedException {
        int records = 1_000_000;
        PulseRing ring = new PulseRing(0, 16);
        AtomicReference<Throwable> failure = new AtomicReference<>();
        Thread[] readers = new Thread[2];
        for (int i = 0; i < readers.length; i++) {
            PulseReader reader = ring.reader();
            readers[i] = Thread.ofPlatform().start(() -> {
                try {
                    readAll(reader, records);
                } catch (Throwable t) {
                    failure.set(t);
                }
            });
        }
        for (long step = 1; step <= records; step++) {
            ring.begin(step, step);
            for (PulseField field : FIELDS) {
                ring.set(field, step * 31 + field.ordinal());
            }
            ring.commit();
        }
        for (Thread reader : readers) {
            reader.join();
        }
        assertThat(failure.get()).isNull();
    }

    private static final PulseField[] FIELDS = PulseField.values();

    private static void readAll(PulseReader reader, int records) {
        ShardPulse pulse = new ShardPulse();
        long read = 0;
        long previous = Long.MIN_VALUE;
        while (read + reader.numLost() < records) {
            if (!reader.poll(pulse)) {
                Thread.onSpinWait();
                continue;
            }
            read++;
            long first = pulse.get(PulseField.STEP_ID);
            for (PulseField field : FIELDS) {
                if (pulse.get(field) != first + field.ordinal()) {
                    throw new AssertionError("torn: " + pulse);
                }
            }
            if (first <= previous) {
                throw new AssertionError("out of order: " + first + " after " + previous);
            }
            previous = first;
        }
        assertThat(read).isPositive();
    }

    @Test
    void writingAndReadingAllocateNothing() {
        PulseRing ring = new PulseRing(0, 64);
        PulseReader reader = ring.reader();
        ShardPulse pulse = new ShardPulse();
        long bytes = Allocation.bytesOf(10_000, () -> {
            write(ring, 5);
            reader.poll(pulse);
        });
        assertThat(bytes).isLessThan(10_000);
    }

    @Test
    void threadTimesGrowWithWork() throws Exception {
        try (ThreadTimes times = ThreadTimes.ofCurrentThread()) {
            long cpu = times.cpuNanos();
            long wait = times.runQueueNanos();
            double x = 1;
            long end = System.nanoTime() + 20_000_000;
            while (System.nanoTime() < end) {
                x = Math.sin(x);
            }
            assertThat(x).isFinite();
            assertThat(times.cpuNanos()).isGreaterThan(cpu);
            assertThat(times.runQueueNanos()).isGreaterThanOrEqualTo(wait);
            assertThat(Allocation.bytesOf(1000, times::runQueueNanos)).isLessThan(1000);
        }
    }
}

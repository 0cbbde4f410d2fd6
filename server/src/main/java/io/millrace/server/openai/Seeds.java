package io.millrace.server.openai;

import java.util.OptionalLong;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongSupplier;

/** Seeds of choices, spread by SplitMix64's mixer (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014). */
public final class Seeds {
    private Seeds() {}

    /** Seeds for choices whose request brings none: a fixed sequence from {@code base}, else random. Thread-safe. */
    public static LongSupplier fresh(OptionalLong base) {
        if (base.isEmpty()) {
            return () -> ThreadLocalRandom.current().nextLong();
        }
        AtomicLong count = new AtomicLong();
        return () -> mix(base.getAsLong(), count.incrementAndGet());
    }

    /** The first choice has the request's seed itself, so that n = 1 and the first of n = 2 agree. */
    static long ofChoice(long seed, int sample) {
        return sample == 0 ? seed : mix(seed, sample);
    }

    private static long mix(long seed, long index) {
        long z = seed + index * 0x9e3779b97f4a7c15L;
        z = (z ^ z >>> 30) * 0xbf58476d1ce4e5b9L;
        z = (z ^ z >>> 27) * 0x94d049bb133111ebL;
        return z ^ z >>> 31;
    }
}

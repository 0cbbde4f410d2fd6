package io.millrace.scheduler;

import java.util.concurrent.atomic.AtomicLongArray;

/**
 * When there will be room, from what was measured: tokens per second of recent steps, and tokens and seconds that requests took. Written
 * by the engine thread, read by any.
 *
 * <p><b>Promises.</b> A full queue has a place again as soon as one request ends, but all who are refused cannot have that place. So those who
 * are refused stand in a line of their own: each is told the time by which everybody refused before it will have had a place, at the
 * rate at which places were becoming free of late. Who comes back when told finds one, others permitting; telling all of them the same
 * time would make them come back together and be refused again.
 *
 * <p>Each tenant has a line of its own, and the lines share alike what becomes free: clients of one that try again and again without
 * waiting make their own line longer, and nobody else's.
 *
 * <p>The rate mixes cheap prefill tokens with dear decode tokens in the proportion of recent traffic, so a sudden change of traffic
 * shows after some tens of steps.
 */
final class RetryAfterEstimate {
    /** Beyond ten minutes a number would be false precision. */
    static final int MAX_SECONDS = 600;
    /** Half of the weight lies on the last 35 steps. */
    private static final double STEP_DECAY = 0.98;
    private static final double REQUEST_DECAY = 0.95;
    /** The best rate is forgotten by half in 693 steps. */
    private static final double BEST_DECAY = 1.001;

    private double tokens;
    private double seconds;
    private double requests;
    private double requestPrompt;
    private double requestTokens;
    private double requestSeconds;
    private volatile double tokensPerSecond;
    private volatile double meanPrompt;
    private volatile double meanTokens;
    private volatile double meanSeconds;
    private volatile double bestNanosPerToken;
    /** Per tenant, until when its share of what becomes free has been promised. */
    private final AtomicLongArray promisedUntil;

    RetryAfterEstimate(int numTenants) {
        promisedUntil = new AtomicLongArray(numTenants);
        for (int i = 0; i < numTenants; i++) {
            promisedUntil.set(i, Long.MIN_VALUE);
        }
    }

    /** A step computed {@code numTokens} in {@code nanos}. Engine thread. */
    void onStep(int numTokens, long nanos) {
        tokens = tokens * STEP_DECAY + numTokens;
        seconds = seconds * STEP_DECAY + nanos * 1e-9;
        if (seconds > 0) {
            tokensPerSecond = tokens / seconds;
        }
        if (numTokens > 0 && nanos > 0) {
            double best = bestNanosPerToken;
            double perToken = (double) nanos / numTokens;
            bestNanosPerToken = best == 0 ? perToken : Math.min(perToken, best * BEST_DECAY);
        }
    }

    /**
     * A request ended. Engine thread.
     *
     * @param numTokens computed for it
     * @param nanos     since its arrival
     */
    void onFinished(int numPromptTokens, int numTokens, long nanos) {
        requests = requests * REQUEST_DECAY + 1;
        requestPrompt = requestPrompt * REQUEST_DECAY + numPromptTokens;
        requestTokens = requestTokens * REQUEST_DECAY + numTokens;
        requestSeconds = requestSeconds * REQUEST_DECAY + nanos * 1e-9;
        meanPrompt = requestPrompt / requests;
        meanTokens = requestTokens / requests;
        meanSeconds = requestSeconds / requests;
    }

    double tokensPerSecond() {
        return tokensPerSecond;
    }

    /** Least time of late for {@code numTokens}; 0 as long as nothing was measured. */
    long bestNanosFor(int numTokens) {
        return (long) (bestNanosPerToken * numTokens);
    }

    /** Promises a tenant {@code count} places of requests; seconds until then, at least 1, and 1 as long as nothing was measured. Any thread. */
    int promiseRequests(int tenant, int count, long now) {
        double rate = tokensPerSecond;
        return rate <= 0 ? 1 : promise(tenant, count * Math.max(1, meanTokens) / rate, now);
    }

    /** Promises a tenant room for {@code numTokens} more in the queue. */
    int promiseTokens(int tenant, long numTokens, long now) {
        double rate = tokensPerSecond;
        // A prompt leaves the queue with all that is computed for its request, outputs included.
        return rate <= 0 ? 1 : promise(tenant, numTokens * Math.max(1, meanTokens / Math.max(1, meanPrompt)) / rate, now);
    }

    private int promise(int tenant, double inSeconds, long now) {
        int numLines = 1;
        for (int i = 0; i < promisedUntil.length(); i++) {
            numLines += i != tenant && isAhead(promisedUntil.get(i), now) ? 1 : 0;
        }
        long nanos = (long) Math.min(inSeconds * numLines * 1e9, MAX_SECONDS * 1e9);
        while (true) {
            long known = promisedUntil.get(tenant);
            long from = isAhead(known, now) ? known : now;
            long until = Math.min(from + nanos, now + MAX_SECONDS * 1_000_000_000L);
            if (promisedUntil.compareAndSet(tenant, known, until)) {
                return Math.clamp((until - now + 999_999_999L) / 1_000_000_000L, 1, MAX_SECONDS);
            }
        }
    }

    private static boolean isAhead(long promised, long now) {
        return promised != Long.MIN_VALUE && promised - now > 0;
    }

    /** Seconds until one of {@code count} requests will have ended, if they are evenly far. */
    int secondsUntilOneOf(int count) {
        return (int) Math.clamp(Math.ceil(meanSeconds / Math.max(1, count)), 1, MAX_SECONDS);
    }
}

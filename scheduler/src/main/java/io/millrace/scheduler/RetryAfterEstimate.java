package io.millrace.scheduler;

/**
 * When there will be room, from what was measured: tokens per second of recent steps, and tokens and seconds that requests took. Written
 * by the engine thread, read by any.
 *
 * <p><b>Promises.</b> A full queue has a place again as soon as one request ends, but all who are refused cannot have that place. So those who
 * are refused stand in a line of their own: each is told the time by which everybody refused before it will have had a place, at the
 * rate at which places were becoming free of late. Who comes back when told finds one, others permitting; telling all of them the same
 * time would make them come back together and be refused again.
 *
 * <p>Each tenant has a line of its own. A promise cannot be taken back, so two wishes are at odds: never to promise more than becomes free,
 * for which a newcomer has to stand behind everybody; and that who tries again and again without waiting puts off itself alone, for which
 * it must not. So a newcomer is told the end of all lines, but no more than {@link #MAX_BEHIND_SECONDS} beyond its turn were the lines served
 * by turns: the sum over all lines of what they have outstanding, as far as its own is long. Lines are served so meanwhile. What is told at
 * one time for the next {@link #MAX_BEHIND_SECONDS} is never more than becomes free in them; further ahead, lines may overlap.
 *
 * <p>The rate mixes cheap prefill tokens with dear decode tokens in the proportion of recent traffic, so a sudden change of traffic
 * shows after some tens of steps.
 */
final class RetryAfterEstimate {
    /** Beyond ten minutes a number would be false precision. */
    static final int MAX_SECONDS = 600;
    /** What the lines of all others together can put a tenant off beyond its fair turn. */
    static final int MAX_BEHIND_SECONDS = 5;
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
    /** Per tenant, seconds of everything that becomes free that have been promised and have not come yet; guarded by this. */
    private final double[] outstanding;
    private long servedUntil;
    private boolean promised;

    RetryAfterEstimate(int numTenants) {
        outstanding = new double[numTenants];
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

    private synchronized int promise(int tenant, double seconds, long now) {
        // Submitters come with times of their own, some a little late.
        if (!promised || now - servedUntil > 0) {
            serve((now - servedUntil) * 1e-9);
            servedUntil = now;
            promised = true;
        }
        double own = Math.min(outstanding[tenant] + seconds, MAX_SECONDS);
        outstanding[tenant] = own;
        double all = 0;
        double byTurns = 0;
        for (double line : outstanding) {
            all += line;
            byTurns += Math.min(line, own);
        }
        // The grain: sums of what has been served and promised are not exact, and a whole second must not become the next.
        return (int) Math.clamp(Math.ceil(Math.min(all, byTurns + MAX_BEHIND_SECONDS) - 1e-6), 1, MAX_SECONDS);
    }

    /** Lets {@code seconds} pass: all lines with something outstanding share alike what becomes free. */
    private void serve(double seconds) {
        double left = seconds;
        while (left > 0) {
            int numLines = 0;
            double shortest = Double.MAX_VALUE;
            for (double line : outstanding) {
                numLines += line > 0 ? 1 : 0;
                shortest = line > 0 ? Math.min(shortest, line) : shortest;
            }
            if (numLines == 0) {
                return;
            }
            double each = Math.min(shortest, left / numLines);
            for (int i = 0; i < outstanding.length; i++) {
                outstanding[i] = Math.max(0, outstanding[i] - each);
            }
            // Or rounding could leave a rest that never ends.
            left = each < shortest ? 0 : left - each * numLines;
        }
    }

    /** Seconds until one of {@code count} requests will have ended, if they are evenly far. */
    int secondsUntilOneOf(int count) {
        return (int) Math.clamp(Math.ceil(meanSeconds / Math.max(1, count)), 1, MAX_SECONDS);
    }
}

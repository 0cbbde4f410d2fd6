package io.millrace.scheduler;

/**
 * How long the queue will take, from what was measured: waiting tokens plus the output still expected, over tokens per second of
 * recent steps. Written by the engine thread, read by any.
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

    private final Progress progress;
    private double tokens;
    private double seconds;
    private double outputs;
    private double requests;
    private volatile double tokensPerSecond;
    private volatile double meanOutputTokens;

    RetryAfterEstimate(Progress progress) {
        this.progress = progress;
    }

    /** A step computed {@code numTokens} in {@code nanos}. Engine thread. */
    void onStep(int numTokens, long nanos) {
        tokens = tokens * STEP_DECAY + numTokens;
        seconds = seconds * STEP_DECAY + nanos * 1e-9;
        if (seconds > 0) {
            tokensPerSecond = tokens / seconds;
        }
    }

    /** A request ended after {@code numOutputTokens}. Engine thread. */
    void onFinished(int numOutputTokens) {
        outputs = outputs * REQUEST_DECAY + numOutputTokens;
        requests = requests * REQUEST_DECAY + 1;
        meanOutputTokens = outputs / requests;
    }

    double tokensPerSecond() {
        return tokensPerSecond;
    }

    /** Seconds until the requests that wait now will have been served; 1 at least, and as long as nothing was measured. */
    int seconds() {
        double rate = tokensPerSecond;
        if (rate <= 0) {
            return 1;
        }
        // Running requests are half through on average.
        double work = progress.numWaitingTokens + (progress.numWaiting + 0.5 * progress.numRunning) * meanOutputTokens;
        return (int) Math.clamp(Math.ceil(work / rate), 1, MAX_SECONDS);
    }
}

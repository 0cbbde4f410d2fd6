package io.millrace.scheduler;

import java.util.List;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.stream.IntStream;

/**
 * What each tenant has in the house and has used, and the limits on both. Thread-safe without locks: submitters enter here, the engine
 * thread lets leave.
 *
 * <p><b>Tokens per minute.</b> A bucket holds a minute's worth and fills evenly. A request may enter while there is anything in it, is charged
 * its prompt then and its output at its end, and may so leave the bucket in debt; the next one waits until the debt is paid. Charging
 * what was used, not what might be (prompt and {@code max_tokens}), lets tenants use what they are allowed to, and the time until the debt is
 * paid is known exactly, so the {@code Retry-After} is. In the form of GCRA: kept is the time at which the bucket will be full.
 */
final class TenantAccounts {
    private static final long MINUTE_NANOS = 60_000_000_000L;

    private final int maxRequests;
    private final long tokensPerMinute;
    private final double nanosPerToken;
    private final AtomicIntegerArray numInside;
    private final AtomicLongArray numTokens;
    private final AtomicLongArray fullAtNanos;
    private final AtomicLongArray numRefused;

    TenantAccounts(QueueConfig config) {
        maxRequests = config.maxRequestsPerTenant();
        tokensPerMinute = config.tokensPerMinute();
        nanosPerToken = tokensPerMinute == 0 ? 0 : (double) MINUTE_NANOS / tokensPerMinute;
        numInside = new AtomicIntegerArray(config.numTenants());
        numTokens = new AtomicLongArray(config.numTenants());
        fullAtNanos = new AtomicLongArray(config.numTenants());
        numRefused = new AtomicLongArray(config.numTenants());
        for (int i = 0; i < config.numTenants(); i++) {
            fullAtNanos.set(i, Long.MIN_VALUE);
        }
    }

    int numTenants() {
        return numInside.length();
    }

    List<GenerationService.TenantLoad> loads() {
        return IntStream.range(0, numTenants())
                .mapToObj(i -> new GenerationService.TenantLoad(numInside.get(i), numTokens.get(i), numRefused.get(i))).toList();
    }

    /** Requests running and waiting. */
    int numInside(int tenant) {
        return numInside.get(tenant);
    }

    /** Prompt tokens of requests that were let in, and output tokens of those that have ended. */
    long numTokens(int tenant) {
        return numTokens.get(tenant);
    }

    long numRefused(int tenant) {
        return numRefused.get(tenant);
    }

    /**
     * Lets {@code count} requests in together, or none.
     *
     * @param promptTokens of all of them
     * @throws RejectedException if the tenant is at a limit
     */
    void enter(int tenant, int count, long promptTokens, long now, RetryAfterEstimate retryAfter) {
        if (maxRequests > 0 && count > maxRequests) {
            throw new RejectedException(RejectedException.Kind.TOO_MANY, "SCH-012: " + count + " requests at once never fit: an API key may have "
                    + maxRequests + " running and waiting; send fewer at once", 0);
        }
        int inside = numInside.addAndGet(tenant, count);
        if (maxRequests > 0 && inside > maxRequests) {
            numInside.addAndGet(tenant, -count);
            numRefused.incrementAndGet(tenant);
            int seconds = retryAfter.secondsUntilOneOf(inside - count);
            throw new RejectedException(RejectedException.Kind.TENANT_BUSY, "SCH-025: " + (inside - count)
                    + " requests of this API key are running or waiting, at most " + maxRequests + " may be; try again in " + seconds + " s", seconds);
        }
        long debtNanos = charge(tenant, promptTokens, now, true);
        if (debtNanos > 0) {
            numInside.addAndGet(tenant, -count);
            numRefused.incrementAndGet(tenant);
            int seconds = (int) Math.min(Integer.MAX_VALUE, (debtNanos + 999_999_999L) / 1_000_000_000L);
            throw new RejectedException(RejectedException.Kind.TENANT_RATE, "SCH-026: this API key has used up its " + tokensPerMinute
                    + " tokens per minute; there are some again in " + seconds + " s", seconds);
        }
        numTokens.addAndGet(tenant, promptTokens);
    }

    /** Takes back what {@link #enter} did for requests that were not handed over after all. */
    void cancel(int tenant, int count, long promptTokens, long now) {
        numInside.addAndGet(tenant, -count);
        numTokens.addAndGet(tenant, -promptTokens);
        charge(tenant, -promptTokens, now, false);
    }

    /** A request has ended. */
    void leave(int tenant, int outputTokens, long now) {
        numInside.decrementAndGet(tenant);
        numTokens.addAndGet(tenant, outputTokens);
        charge(tenant, outputTokens, now, false);
    }

    /** @return 0, or if {@code onlyIfAny} and the bucket is empty: nothing is charged, and nanoseconds until it no longer is */
    private long charge(int tenant, long tokens, long now, boolean onlyIfAny) {
        if (tokensPerMinute == 0) {
            return 0;
        }
        while (true) {
            long known = fullAtNanos.get(tenant);
            long fullAt = known == Long.MIN_VALUE || known - now < 0 ? now : known;
            if (onlyIfAny && fullAt - now >= MINUTE_NANOS) {
                return fullAt - now - MINUTE_NANOS + 1;
            }
            if (fullAtNanos.compareAndSet(tenant, known, fullAt + Math.round(tokens * nanosPerToken))) {
                return 0;
            }
        }
    }
}

package io.millrace.scheduler;

/**
 * How requests wait and how much of it.
 *
 * @param policy               who enters next
 * @param priorityAgingSeconds under {@link SchedulingPolicy#PRIORITY}: one level of priority is worth so many seconds of waiting, so that
 *                             nobody waits for ever; 0 = priorities hold strictly, and the least urgent may starve
 * @param maxQueuedTokens      prompt tokens that may wait; a request is refused if it would make them more, unless none wait; 0 = no bound
 * @param numTenants           how many there are; at least 1
 * @param maxRequestsPerTenant requests that one tenant may have running and waiting; 0 = no bound
 * @param tokensPerMinute      prompt and output tokens that one tenant may use per minute, averaged over a minute; 0 = no bound
 */
public record QueueConfig(SchedulingPolicy policy, double priorityAgingSeconds, long maxQueuedTokens, int numTenants, int maxRequestsPerTenant,
        long tokensPerMinute) {
    public static final double DEFAULT_AGING_SECONDS = 60;
    /** First come, first served; no bound but that of the queue's length. */
    public static final QueueConfig DEFAULT = of(SchedulingPolicy.FCFS, 1);

    public QueueConfig {
        if (!(priorityAgingSeconds >= 0) || maxQueuedTokens < 0 || numTenants < 1 || maxRequestsPerTenant < 0 || tokensPerMinute < 0) {
            throw new IllegalArgumentException("SCH-001: priorityAgingSeconds " + priorityAgingSeconds + ", maxQueuedTokens " + maxQueuedTokens
                    + ", maxRequestsPerTenant " + maxRequestsPerTenant + " and tokensPerMinute " + tokensPerMinute
                    + " must be at least 0 and numTenants " + numTenants + " at least 1");
        }
    }

    public QueueConfig withTenants(int count) {
        return new QueueConfig(policy, priorityAgingSeconds, maxQueuedTokens, count, maxRequestsPerTenant, tokensPerMinute);
    }

    /** That policy without limits per tenant. */
    public static QueueConfig of(SchedulingPolicy policy, int numTenants) {
        return new QueueConfig(policy, DEFAULT_AGING_SECONDS, 0, numTenants, 0, 0);
    }
}

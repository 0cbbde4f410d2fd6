package io.millrace.scheduler;

/**
 * On what terms a request is served.
 *
 * @param tenant       whose it is, from 0 and below {@link QueueConfig#numTenants}: an API key's number
 * @param priority     smaller is more urgent; matters under {@link SchedulingPolicy#PRIORITY}
 * @param timeoutNanos after its arrival, when an answer is of no more use; 0 = never
 */
public record Terms(int tenant, int priority, long timeoutNanos) {
    /** The first tenant's, of priority 0, without a deadline. */
    public static final Terms DEFAULT = new Terms(0, 0, 0);
}

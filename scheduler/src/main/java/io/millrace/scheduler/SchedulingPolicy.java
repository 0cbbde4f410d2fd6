package io.millrace.scheduler;

/** Whose request enters next when there is not room for all. */
public enum SchedulingPolicy {
    /** First come, first served. */
    FCFS,
    /** By {@link Terms#priority}, and a more urgent request takes the place of less urgent running ones. */
    PRIORITY,
    /** By turns between tenants, in proportion to what each has had. */
    FAIR
}

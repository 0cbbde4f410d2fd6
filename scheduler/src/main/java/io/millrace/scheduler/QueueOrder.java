package io.millrace.scheduler;

import java.util.function.Consumer;

/**
 * Who of those that wait enters next, and who of those that run must give way first. Every operation takes O(log n) or less and allocates
 * nothing but to grow. Owned by the engine thread.
 */
abstract sealed class QueueOrder permits FcfsOrder, PriorityOrder, FairOrder {
    static QueueOrder of(QueueConfig config, long startNanos) {
        return switch (config.policy()) {
            case FCFS -> new FcfsOrder();
            case PRIORITY -> new PriorityOrder(config.priorityAgingSeconds(), startNanos);
            case FAIR -> new FairOrder(config.numTenants());
        };
    }

    /** A newcomer. */
    abstract void add(RequestState request);

    /** One that lost its blocks. */
    abstract void addPreempted(RequestState request);

    abstract void remove(RequestState request);

    abstract boolean contains(RequestState request);

    /** Who enters next; null if nobody waits. The same until somebody comes, goes or gets a token. */
    abstract RequestState head();

    /**
     * The order in which running requests stand, and give way from the end of: a strict total order of requests that run or ran. Also of a
     * waiting one against running ones, where the policy lets it pass them.
     */
    abstract boolean ranksBefore(RequestState a, RequestState b);

    /** Whether {@code waiting} may take the place of {@code running}. */
    boolean mayDisplace(RequestState waiting, RequestState running) {
        return false;
    }

    /** Whether a newcomer can rank before running requests. */
    boolean passesRunning() {
        return false;
    }

    /** The request is about to run, for the first time or again; what the prefix cache had of it is known. */
    void onAdmitted(RequestState request) {}

    /** The request got an output token. */
    void onToken(RequestState request) {}

    /** In no particular order, but first the head where that is easy. */
    abstract void forEach(Consumer<RequestState> visitor);

    abstract void checkIntegrity();

    /** Adds a preempted request to a list of such: few at a time, and mostly before all others. */
    static void insertByRank(RequestList list, RequestState request, QueueOrder order) {
        RequestState next = list.head();
        while (next != null && order.ranksBefore(next, request)) {
            next = next.next;
        }
        list.addBefore(request, next);
    }
}

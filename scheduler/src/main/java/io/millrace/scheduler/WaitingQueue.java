package io.millrace.scheduler;

import java.util.function.Consumer;

/**
 * Requests that hold no blocks and want to run, in the order of the policy. All operations are O(log n) or less and allocate nothing but
 * to grow, whatever the length. Owned by the engine thread.
 */
final class WaitingQueue {
    private final QueueOrder order;
    private int size;
    private long numTokens;

    WaitingQueue(QueueOrder order) {
        this.order = order;
    }

    QueueOrder order() {
        return order;
    }

    /** Who enters next; null if nobody waits. */
    RequestState head() {
        return order.head();
    }

    int size() {
        return size;
    }

    boolean isEmpty() {
        return size == 0;
    }

    /** Known tokens of all who wait. */
    long numTokens() {
        return numTokens;
    }

    boolean contains(RequestState request) {
        return order.contains(request);
    }

    /** A newcomer. */
    void add(RequestState request) {
        order.add(request);
        size++;
        numTokens += request.sequence.numTokens();
    }

    /** One that lost its blocks. */
    void addPreempted(RequestState request) {
        order.addPreempted(request);
        size++;
        numTokens += request.sequence.numTokens();
    }

    void remove(RequestState request) {
        order.remove(request);
        size--;
        numTokens -= request.sequence.numTokens();
    }

    /** {@code visitor} changes no places. */
    void forEach(Consumer<RequestState> visitor) {
        order.forEach(visitor);
    }

    void checkIntegrity() {
        long[] counted = new long[2];
        order.forEach(r -> {
            Lifecycle.check(r.sequence.numBlocks() == 0 && r.sequence.numComputedTokens() == 0, r, "waits but holds blocks");
            Lifecycle.check(r.phase == RequestState.Phase.WAITING, r, "is in the waiting queue");
            counted[0]++;
            counted[1] += r.sequence.numTokens();
        });
        Lifecycle.check(counted[0] == size && counted[1] == numTokens, head(), "is the head of a queue that counts " + size + " requests of "
                + numTokens + " tokens and has " + counted[0] + " of " + counted[1]);
        order.checkIntegrity();
    }
}

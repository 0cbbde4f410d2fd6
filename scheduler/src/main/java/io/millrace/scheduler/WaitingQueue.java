package io.millrace.scheduler;

import java.util.function.Consumer;

/**
 * Requests that hold no blocks and want to run, first come first served. All operations are O(1) and allocate nothing, whatever the
 * length. Owned by the engine thread.
 */
final class WaitingQueue {
    private final RequestList list = new RequestList();
    private long numTokens;

    /** Who enters next; null if nobody waits. */
    RequestState head() {
        return list.head();
    }

    int size() {
        return list.size();
    }

    boolean isEmpty() {
        return list.isEmpty();
    }

    /** Known tokens of all who wait. */
    long numTokens() {
        return numTokens;
    }

    boolean contains(RequestState request) {
        return request.list == list;
    }

    /** A newcomer. */
    void add(RequestState request) {
        list.addLast(request);
        numTokens += request.sequence.numTokens();
    }

    /** One that lost its blocks: it goes before all that arrived later, so only others that were preempted can stand before it. */
    void addPreempted(RequestState request) {
        list.insertFromHead(request);
        numTokens += request.sequence.numTokens();
    }

    void remove(RequestState request) {
        list.remove(request);
        numTokens -= request.sequence.numTokens();
    }

    /** In the order of the queue; {@code visitor} changes no places. */
    void forEach(Consumer<RequestState> visitor) {
        for (RequestState r = list.head(); r != null; r = r.next) {
            visitor.accept(r);
        }
    }

    void checkIntegrity() {
        long lastArrival = -1;
        long tokens = 0;
        for (RequestState r = list.head(); r != null; r = r.next) {
            Lifecycle.check(r.sequence.numBlocks() == 0 && r.sequence.numComputedTokens() == 0, r, "waits but holds blocks");
            Lifecycle.check(r.phase == RequestState.Phase.WAITING, r, "is in the waiting queue");
            Lifecycle.check(r.arrivalOrder > lastArrival, r, "waits out of order");
            lastArrival = r.arrivalOrder;
            tokens += r.sequence.numTokens();
        }
        Lifecycle.check(tokens == numTokens, list.head(), "is the head of a queue that counts " + numTokens + " tokens and has " + tokens);
    }
}

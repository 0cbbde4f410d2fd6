package io.millrace.scheduler;

import java.util.function.Consumer;

/** First come, first served: all operations are O(1). */
final class FcfsOrder extends QueueOrder {
    private final RequestList list = new RequestList();

    @Override
    void add(RequestState request) {
        list.addLast(request);
    }

    /** It goes before all that arrived later, so only others that were preempted can stand before it. */
    @Override
    void addPreempted(RequestState request) {
        insertByRank(list, request, this);
    }

    @Override
    void remove(RequestState request) {
        list.remove(request);
    }

    @Override
    boolean contains(RequestState request) {
        return request.list == list;
    }

    @Override
    RequestState head() {
        return list.head();
    }

    @Override
    boolean ranksBefore(RequestState a, RequestState b) {
        return a.arrivalOrder < b.arrivalOrder;
    }

    @Override
    void forEach(Consumer<RequestState> visitor) {
        for (RequestState r = list.head(); r != null; r = r.next) {
            visitor.accept(r);
        }
    }

    @Override
    void checkIntegrity() {
        long last = -1;
        for (RequestState r = list.head(); r != null; r = r.next) {
            Lifecycle.check(r.arrivalOrder > last, r, "waits out of order");
            last = r.arrivalOrder;
        }
    }
}

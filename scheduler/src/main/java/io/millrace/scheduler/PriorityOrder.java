package io.millrace.scheduler;

import java.util.function.Consumer;

/**
 * The most urgent first, and among equals who came first. A level of priority is worth so many seconds of waiting: a request stands where
 * it would stand first come, first served had it come that much earlier or later. All age alike, so the order of two requests never
 * changes, a heap holds it, and only those of a bounded time after a request can pass it: nobody starves. Without aging, priority alone
 * decides.
 *
 * <p>A waiting request takes the place of running ones of a lower priority that it stands before; never of one of its own priority.
 */
final class PriorityOrder extends QueueOrder {
    private final double agingSeconds;
    private final long startNanos;
    private final RequestHeap heap = new RequestHeap() {
        @Override
        boolean isBefore(RequestState a, RequestState b) {
            return ranksBefore(a, b);
        }

        @Override
        int place(RequestState request) {
            return request.queuePlace;
        }

        @Override
        void setPlace(RequestState request, int place) {
            request.queuePlace = place;
        }
    };

    PriorityOrder(double agingSeconds, long startNanos) {
        this.agingSeconds = agingSeconds;
        this.startNanos = startNanos;
    }

    @Override
    void add(RequestState request) {
        double level = request.terms.priority();
        request.rank = agingSeconds == 0 ? level : level * agingSeconds + (request.arrivalNanos - startNanos) * 1e-9;
        heap.add(request);
    }

    @Override
    void addPreempted(RequestState request) {
        heap.add(request);
    }

    @Override
    void remove(RequestState request) {
        heap.remove(request);
    }

    @Override
    boolean contains(RequestState request) {
        return request.queuePlace != RequestHeap.ABSENT;
    }

    @Override
    RequestState head() {
        return heap.first();
    }

    @Override
    boolean ranksBefore(RequestState a, RequestState b) {
        return a.rank < b.rank || a.rank == b.rank && a.arrivalOrder < b.arrivalOrder;
    }

    @Override
    boolean passesRunning() {
        return true;
    }

    @Override
    boolean mayDisplace(RequestState waiting, RequestState running) {
        return waiting.terms.priority() < running.terms.priority() && ranksBefore(waiting, running);
    }

    @Override
    void forEach(Consumer<RequestState> visitor) {
        for (int i = 0; i < heap.size(); i++) {
            visitor.accept(heap.get(i));
        }
    }

    @Override
    void checkIntegrity() {
        heap.checkIntegrity();
    }
}

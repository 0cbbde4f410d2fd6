package io.millrace.scheduler;

/** Requests that have a deadline, waiting or running, the nearest first. */
final class DeadlineHeap extends RequestHeap {
    @Override
    boolean isBefore(RequestState a, RequestState b) {
        // Times of System.nanoTime may wrap round.
        long difference = a.deadlineNanos - b.deadlineNanos;
        return difference == 0 ? a.arrivalOrder < b.arrivalOrder : difference < 0;
    }

    @Override
    int place(RequestState request) {
        return request.deadlinePlace;
    }

    @Override
    void setPlace(RequestState request, int place) {
        request.deadlinePlace = place;
    }

    /** The nearest one, if its deadline has passed; else null. */
    RequestState expired(long now) {
        RequestState first = first();
        return first != null && now - first.deadlineNanos >= 0 ? first : null;
    }
}

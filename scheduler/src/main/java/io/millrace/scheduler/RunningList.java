package io.millrace.scheduler;

/**
 * The requests that run, in the order of the policy. An array, so that those who look at all of them every step need not wait for one
 * request's memory to learn where the next one is; requests come and go seldom, at the price of moving the references behind them.
 * Going from the front to the back by place, taking later ones out meanwhile is safe. Allocates nothing after construction.
 */
final class RunningList {
    private final RequestState[] requests;
    private int size;

    RunningList(int capacity) {
        requests = new RequestState[capacity];
    }

    int size() {
        return size;
    }

    boolean isEmpty() {
        return size == 0;
    }

    RequestState get(int place) {
        return requests[place];
    }

    /** The first in order; null if nobody runs. */
    RequestState head() {
        return size == 0 ? null : requests[0];
    }

    /** @param place 0 to {@link #size}; those from there on move up */
    void insert(int place, RequestState request) {
        if (size == requests.length) {
            throw new IllegalStateException("SCH-004: " + request + " is one too many for a list of " + size);
        }
        System.arraycopy(requests, place, requests, place + 1, size - place);
        requests[place] = request;
        size++;
    }

    void remove(RequestState request) {
        int place = size - 1;
        while (place >= 0 && requests[place] != request) {
            place--;
        }
        if (place < 0) {
            throw new IllegalStateException("SCH-004: " + request + " is not in this list");
        }
        size--;
        System.arraycopy(requests, place + 1, requests, place, size - place);
        requests[size] = null;
    }
}

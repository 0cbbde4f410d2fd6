package io.millrace.scheduler;

/**
 * Requests in order of arrival, linked through their own fields: every operation allocates nothing and is O(1), but for
 * the two that insert. A request is in one
 * list at most. Iterate with {@code for (r = list.head(); r != null; r = r.next)}; taking later ones out meanwhile is safe.
 */
final class RequestList {
    private RequestState head;
    private RequestState tail;
    private int size;

    RequestState head() {
        return head;
    }

    int size() {
        return size;
    }

    boolean isEmpty() {
        return size == 0;
    }

    void addLast(RequestState request) {
        link(request, tail, null);
    }

    /** @param next of this list; null = at the end */
    void addBefore(RequestState request, RequestState next) {
        link(request, next == null ? tail : next.previous, next);
    }

    void remove(RequestState request) {
        if (request.list != this) {
            throw new IllegalStateException("SCH-004: " + request + " is not in this list");
        }
        if (request.previous == null) {
            head = request.next;
        } else {
            request.previous.next = request.next;
        }
        if (request.next == null) {
            tail = request.previous;
        } else {
            request.next.previous = request.previous;
        }
        request.previous = null;
        request.next = null;
        request.list = null;
        size--;
    }

    private void link(RequestState request, RequestState previous, RequestState next) {
        if (request.list != null) {
            throw new IllegalStateException("SCH-004: " + request + " is in a list already");
        }
        request.list = this;
        request.previous = previous;
        request.next = next;
        if (previous == null) {
            head = request;
        } else {
            previous.next = request;
        }
        if (next == null) {
            tail = request;
        } else {
            next.previous = request;
        }
        size++;
    }
}

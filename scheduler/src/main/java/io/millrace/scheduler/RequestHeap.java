package io.millrace.scheduler;

import java.util.Arrays;

/**
 * Requests by an order that does not change while they are in: the first is found in O(1), any is added or taken out in O(log n). Each
 * request carries its own place. Allocates only to grow.
 */
abstract class RequestHeap {
    static final int ABSENT = -1;

    private RequestState[] heap = new RequestState[64];
    private int size;

    /** A strict total order. */
    abstract boolean isBefore(RequestState a, RequestState b);

    abstract int place(RequestState request);

    abstract void setPlace(RequestState request, int place);

    int size() {
        return size;
    }

    /** Null if there is none. */
    RequestState first() {
        return size == 0 ? null : heap[0];
    }

    /** Any order; {@code i} in [0, size). */
    RequestState get(int i) {
        return heap[i];
    }

    void add(RequestState request) {
        if (size == heap.length) {
            heap = Arrays.copyOf(heap, 2 * size);
        }
        put(request, size);
        up(size++);
    }

    void remove(RequestState request) {
        int hole = place(request);
        if (hole == ABSENT || heap[hole] != request) {
            throw new IllegalStateException("SCH-004: " + request + " is not in this heap");
        }
        RequestState last = heap[--size];
        heap[size] = null;
        setPlace(request, ABSENT);
        if (last != request) {
            put(last, hole);
            up(hole);
            down(place(last));
        }
    }

    private void up(int from) {
        int i = from;
        RequestState moving = heap[i];
        while (i > 0 && isBefore(moving, heap[(i - 1) / 2])) {
            put(heap[(i - 1) / 2], i);
            i = (i - 1) / 2;
        }
        put(moving, i);
    }

    private void down(int from) {
        int i = from;
        RequestState moving = heap[i];
        for (int child; (child = 2 * i + 1) < size; i = child) {
            if (child + 1 < size && isBefore(heap[child + 1], heap[child])) {
                child++;
            }
            if (!isBefore(heap[child], moving)) {
                break;
            }
            put(heap[child], i);
        }
        put(moving, i);
    }

    private void put(RequestState request, int i) {
        heap[i] = request;
        setPlace(request, i);
    }

    void checkIntegrity() {
        for (int i = 0; i < size; i++) {
            Lifecycle.check(place(heap[i]) == i, heap[i], "is not where it believes to be");
            Lifecycle.check(i == 0 || !isBefore(heap[i], heap[(i - 1) / 2]), heap[i], "is below one that comes later");
        }
    }
}

package io.millrace.scheduler;

import java.util.function.Consumer;

/**
 * By turns between tenants: the one that has been served least goes next, within a tenant first come, first served. After "Fairness in
 * Serving Large Language Models" (VTC, OSDI 2024): each tenant has a counter of the tokens it was served, and one that comes back after
 * a pause begins at the least counter of those that wait, so that nobody saves up service.
 *
 * <p>Why counters and not deficit round robin: a round has to know a request's cost before it lets it in, and the length of an answer is
 * known only at its end. Counters are charged as tokens come, and correct themselves.
 *
 * <p>A prompt is charged when it is let in, so that a tenant's requests do not all pass before the first is paid for; output tokens when
 * they come, at twice the price of a prompt's, since each takes a place in a step for itself. What the prefix cache had, and what is
 * computed again, costs nothing.
 *
 * <p>Running requests stand in the order in which they were let in; those that lost their blocks return before all others.
 */
final class FairOrder extends QueueOrder {
    static final int PROMPT_WEIGHT = 1;
    static final int OUTPUT_WEIGHT = 2;

    private static final class Tenant {
        final RequestList list = new RequestList();
        /** Weighted tokens served. */
        long counter;
        /** When it was last let in, as a number of the order of admissions. */
        long lastServed;
        // What the heap knows: never more than the above, which only grow.
        long knownCounter;
        long knownServed;
        int place;
    }

    private final Tenant[] tenants;
    /** Tenants with waiting requests, by what is known of them. */
    private final Tenant[] heap;
    private int heapSize;
    private final RequestList preempted = new RequestList();
    /** Of the tenant that was last to have nobody waiting. */
    private long lastCounter;
    private long nextAdmission = 1;

    FairOrder(int numTenants) {
        tenants = new Tenant[numTenants];
        heap = new Tenant[numTenants];
        for (int i = 0; i < numTenants; i++) {
            tenants[i] = new Tenant();
        }
    }

    private Tenant tenantOf(RequestState request) {
        return tenants[request.terms.tenant()];
    }

    /** Weighted tokens that a tenant was served, counted from the least that somebody who waited had had. */
    long counter(int tenant) {
        return tenants[tenant].counter;
    }

    @Override
    void add(RequestState request) {
        Tenant tenant = tenantOf(request);
        if (tenant.list.isEmpty()) {
            refreshTop();
            tenant.counter = Math.max(tenant.counter, heapSize == 0 ? lastCounter : heap[0].counter);
            put(tenant, heapSize);
            tenant.knownCounter = tenant.counter;
            tenant.knownServed = tenant.lastServed;
            up(heapSize++);
        }
        tenant.list.addLast(request);
    }

    @Override
    void addPreempted(RequestState request) {
        insertByRank(preempted, request, this);
    }

    @Override
    void remove(RequestState request) {
        if (request.list == preempted) {
            preempted.remove(request);
            return;
        }
        Tenant tenant = tenantOf(request);
        tenant.list.remove(request);
        if (tenant.list.isEmpty()) {
            lastCounter = tenant.counter;
            removeTenant(tenant);
        }
    }

    private void removeTenant(Tenant tenant) {
        int hole = tenant.place;
        Tenant last = heap[--heapSize];
        heap[heapSize] = null;
        if (last != tenant) {
            put(last, hole);
            up(hole);
            down(hole);
        }
    }

    @Override
    boolean contains(RequestState request) {
        return request.list == preempted || request.list != null && request.list == tenantOf(request).list;
    }

    @Override
    RequestState head() {
        if (!preempted.isEmpty()) {
            return preempted.head();
        }
        refreshTop();
        return heapSize == 0 ? null : heap[0].list.head();
    }

    /** Counters have grown since tenants took their places; as they only grow, it is enough to look at the first until it is right. */
    private void refreshTop() {
        while (heapSize > 0 && (heap[0].knownCounter != heap[0].counter || heap[0].knownServed != heap[0].lastServed)) {
            heap[0].knownCounter = heap[0].counter;
            heap[0].knownServed = heap[0].lastServed;
            down(0);
        }
    }

    /** Of equals the one whose turn was longer ago. */
    private static boolean isBefore(Tenant a, Tenant b) {
        return a.knownCounter < b.knownCounter || a.knownCounter == b.knownCounter && a.knownServed < b.knownServed;
    }

    private void up(int from) {
        for (int i = from; i > 0 && isBefore(heap[i], heap[(i - 1) / 2]); i = (i - 1) / 2) {
            swap(i, (i - 1) / 2);
        }
    }

    private void down(int from) {
        for (int i = from, child; (child = 2 * i + 1) < heapSize; i = child) {
            if (child + 1 < heapSize && isBefore(heap[child + 1], heap[child])) {
                child++;
            }
            if (!isBefore(heap[child], heap[i])) {
                return;
            }
            swap(i, child);
        }
    }

    private void swap(int i, int j) {
        Tenant tenant = heap[i];
        put(heap[j], i);
        put(tenant, j);
    }

    private void put(Tenant tenant, int i) {
        heap[i] = tenant;
        tenant.place = i;
    }

    @Override
    boolean ranksBefore(RequestState a, RequestState b) {
        return a.admissionOrder < b.admissionOrder;
    }

    @Override
    void onAdmitted(RequestState request) {
        if (request.admissionOrder != RequestState.NEVER_ADMITTED) {
            return;
        }
        Tenant tenant = tenantOf(request);
        // A choice that waits for another one to compute their prompt costs only its own tokens.
        tenant.counter += request.leader() != null ? 0 : (long) PROMPT_WEIGHT * (request.numPromptTokens() - request.numCachedTokens());
        tenant.lastServed = nextAdmission;
        request.admissionOrder = nextAdmission++;
    }

    @Override
    void onToken(RequestState request) {
        tenantOf(request).counter += OUTPUT_WEIGHT;
    }

    @Override
    void forEach(Consumer<RequestState> visitor) {
        for (RequestState r = preempted.head(); r != null; r = r.next) {
            visitor.accept(r);
        }
        for (Tenant tenant : tenants) {
            for (RequestState r = tenant.list.head(); r != null; r = r.next) {
                visitor.accept(r);
            }
        }
    }

    @Override
    void checkIntegrity() {
        int numWaitingTenants = 0;
        for (Tenant tenant : tenants) {
            numWaitingTenants += tenant.list.isEmpty() ? 0 : 1;
            long last = -1;
            for (RequestState r = tenant.list.head(); r != null; r = r.next) {
                Lifecycle.check(r.arrivalOrder > last && r.admissionOrder == RequestState.NEVER_ADMITTED, r, "waits out of order");
                last = r.arrivalOrder;
            }
        }
        Lifecycle.check(numWaitingTenants == heapSize, head(), "is the head of a queue that counts " + heapSize + " waiting tenants and has "
                + numWaitingTenants);
        for (int i = 0; i < heapSize; i++) {
            Lifecycle.check(heap[i].place == i && (i == 0 || !isBefore(heap[i], heap[(i - 1) / 2])), heap[i].list.head(),
                    "belongs to a tenant below one that comes later");
        }
    }
}

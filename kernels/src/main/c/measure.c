/* Runs the probes of probe.c on a team. */
#define _GNU_SOURCE
#include "team.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* Calls of products between two claims: some hundred microseconds. */
#define CALLS 32

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void products(mr_thread *thread, int64_t items, int64_t (*run)(void)) {
    int64_t sum = 0;
    for (int64_t i; (i = mr_claim(thread, 1, items)) < items;) {
        for (int call = 0; call < CALLS; call++) {
            sum += run();
        }
    }
    __atomic_fetch_add(&thread->team->probe->sum, sum, __ATOMIC_RELAXED);
}

static void run_piece(mr_thread *thread, mr_probe_args *args, int64_t count, int64_t i, int64_t *sum) {
    char *data = args->data;
    if (args->probe == MR_PROBE_READ) {
        *sum += thread->kernels->probes->read(data + i * MR_PROBE_PIECE);
    } else {
        int64_t half = count / 2;
        memcpy(data + (half + i % half) * MR_PROBE_PIECE, data + i % half * MR_PROBE_PIECE, MR_PROBE_PIECE);
    }
}

/* Round by round: a thread keeps to its share of the memory, or it would find in the shared cache what another has just read. */
static void pieces(mr_thread *thread, int64_t items, mr_probe_args *args) {
    int64_t count = args->bytes / MR_PROBE_PIECE;
    int64_t sum = 0;
    for (int64_t left = items; left > 0; left -= count) {
        int64_t round = mr_min(left, count);
        for (int64_t i; (i = mr_claim(thread, 1, round)) < round;) {
            run_piece(thread, args, count, i, &sum);
        }
        if (left > count) {
            mr_barrier(thread);
        }
    }
    __atomic_fetch_add(&args->sum, sum, __ATOMIC_RELAXED);
}

void mr_measure(mr_thread *thread, mr_probe_args *args) {
    const mr_probes *probes = thread->kernels->probes;
    switch (args->probe) {
        case MR_PROBE_PRODUCTS_F32: products(thread, args->items, probes->products_f32); break;
        case MR_PROBE_PRODUCTS_BF16: products(thread, args->items, probes->products_bf16); break;
        case MR_PROBE_PRODUCTS_INT8: products(thread, args->items, probes->products_int8); break;
        default: pieces(thread, args->items, args); break;
    }
}

/* Bytes or operations of an item. A product is a multiplication and an addition: one per lane, two of BF16, four of bytes. */
static int64_t work_of_item(const mr_team *team, int32_t probe) {
    int64_t steps = (int64_t)MR_PROBE_STEPS * CALLS * team->kernels->probes->lanes * 2;
    switch (probe) {
        case MR_PROBE_READ: return MR_PROBE_PIECE;
        case MR_PROBE_COPY: return 2 * MR_PROBE_PIECE;
        case MR_PROBE_PRODUCTS_F32: return steps;
        case MR_PROBE_PRODUCTS_BF16: return 2 * steps;
        default: return 4 * steps;
    }
}

int32_t mr_probe_run(mr_team *team, int32_t probe, void *data, int64_t bytes, int64_t items, int64_t *work, int64_t *nanos) {
    bool memory = probe == MR_PROBE_READ || probe == MR_PROBE_COPY;
    if (probe < MR_PROBE_READ || probe > MR_PROBE_PRODUCTS_INT8 || items < 1 || items > INT32_MAX
        || (memory && (data == NULL || (uintptr_t)data % MR_CACHE_LINE != 0 || bytes < 2 * MR_PROBE_PIECE))) {
        snprintf(team->error, sizeof team->error, "probe %d over %lld bytes, %lld times", (int)probe, (long long)bytes, (long long)items);
        return MR_E_ARGUMENT;
    }
    if (probe == MR_PROBE_PRODUCTS_BF16 && !mr_has_bf16_dot(team->isa)) {
        snprintf(team->error, sizeof team->error, "no BF16 products on this machine");
        return MR_E_ISA;
    }
    mr_probe_args args = {.probe = probe, .data = data, .bytes = bytes, .items = items};
    team->probe = &args;
    int64_t start = now();
    int32_t status = mr_team_run(team);
    *nanos = now() - start;
    *work = items * work_of_item(team, probe);
    team->probe = NULL;
    return status;
}

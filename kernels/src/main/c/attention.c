/*
 * Causal grouped-query attention over the paged cache, with an online softmax (arXiv 1805.02867, 2205.14135).
 *
 * The context of a token is walked in tiles of MR_KEY_TILE positions; tiles are collected into segments of MR_SEGMENT positions, each with
 * its own running maximum, sum and weighted values, and the segments are merged in ascending order. Boundaries depend on positions alone,
 * and the arithmetic of a row never looks at other rows: decode, whole prefill, any chunking and any number of threads give the same bits.
 *
 *   positions   0 .. 63 | 64 .. 127 | ...   | 256 ..      | ...          tiles of 64: four groups of 16
 *               '-------- segment 0 --------'  '- segment 1 -'
 *
 * One work item is a run of tokens of one sequence and one key/value head: up to MR_QUERY_ROWS rows (token x query head of the group) that
 * share every tile. Where there are too few of them for the threads, an item is one segment of such a run; the segments are merged in a
 * second phase (arXiv 2311.01282 splits likewise, at boundaries that depend on the load).
 */
#include "attention.h"

/* Rows of an item when segments are items of their own: a decode's rows, or those of a few drafted tokens. */
#define SPLIT_ROWS 16
/* Items per thread from which on the threads end together well enough. */
#define ITEMS_PER_THREAD 4
#define MAX_SPLIT_BYTES (16 << 20)

/*
 * Work items in order: sequence by sequence, run by run of tokens, head by head and, if segments are items, segment by segment. A thread's
 * claims grow within a share, so its walk goes forward; it starts over where a thread helps with an earlier share.
 */
typedef struct walk {
    const mr_batch *batch;
    int64_t run;      /* tokens */
    int64_t kv_heads;
    int64_t window;
    bool split;
    int64_t sequence;
    int64_t offset;   /* of the run in the sequence's tokens */
    int64_t first;    /* item number of the run's first item */
    int64_t segments; /* of the run */
} walk;

/* Segments that a run of tokens reads: numbers [first, first + count). */
static int64_t run_segments(const walk *k, int64_t *first) {
    int64_t token = k->batch->query_start[k->sequence] + k->offset;
    int64_t tokens = mr_min(k->run, k->batch->query_start[k->sequence + 1] - token);
    int64_t position = k->batch->positions[token];
    int64_t begin = k->window > 0 ? mr_max(0, position + 1 - k->window) : 0;
    *first = begin / MR_SEGMENT;
    return mr_ceil_div(position + tokens, MR_SEGMENT) - *first;
}

static bool enter_run(walk *k) {
    while (k->sequence < k->batch->counts[1] && k->offset >= k->batch->query_start[k->sequence + 1] - k->batch->query_start[k->sequence]) {
        k->sequence++;
        k->offset = 0;
    }
    if (k->sequence >= k->batch->counts[1]) {
        return false;
    }
    int64_t first;
    k->segments = k->split ? run_segments(k, &first) : 1;
    return true;
}

static bool next_run(walk *k) {
    k->first += k->segments * k->kv_heads;
    k->offset += k->run;
    return enter_run(k);
}

static walk start_walk(const mr_batch *batch, const mr_attention_args *a, bool split) {
    walk k = {.batch = batch, .run = mr_max(1, (split ? SPLIT_ROWS : MR_QUERY_ROWS) / group_of(a)), .kv_heads = a->cache.num_kv_heads,
              .window = a->window, .split = split};
    return k;
}

static int64_t count_items(walk k) {
    if (!enter_run(&k)) {
        return 0;
    }
    while (next_run(&k)) {
    }
    return k.first;
}

static void restart(walk *k) {
    k->sequence = k->offset = k->first = 0;
    enter_run(k);
}

/* The run that holds the item. */
static unit find_unit(walk *k, int64_t item) {
    if (item < k->first) {
        restart(k);
    }
    while (item >= k->first + k->segments * k->kv_heads && next_run(k)) {
    }
    int64_t token = k->batch->query_start[k->sequence] + k->offset;
    return (unit){k->sequence, token, mr_min(k->run, k->batch->query_start[k->sequence + 1] - token), (item - k->first) / k->segments};
}

static int64_t split_rows(const mr_attention_args *a) { return mr_max(1, SPLIT_ROWS / group_of(a)) * group_of(a); }

/* A state for every item of a step that may be split: see `worth_splitting`. */
int64_t MR_NAME(mr_attention_shared_bytes)(const mr_attention_args *a, const mr_batch *batch, int32_t threads) {
    int64_t positions = (int64_t)batch->max_blocks_per_sequence * a->cache.block_size;
    int64_t state_bytes = state_floats(split_rows(a), padded(a->cache.head_dim)) * (int64_t)sizeof(float);
    int64_t items = ITEMS_PER_THREAD * threads * mr_ceil_div(positions, MR_SEGMENT) * mr_ceil_div(row_capacity(a), split_rows(a));
    return threads == 1 ? 0 : mr_min(items * state_bytes, MAX_SPLIT_BYTES);
}

static bool worth_splitting(const mr_thread *thread, const mr_attention_args *a) {
    int64_t whole = count_items(start_walk(thread->batch, a, false));
    if (thread->count == 1 || whole >= ITEMS_PER_THREAD * thread->count) {
        return false;
    }
    int64_t items = count_items(start_walk(thread->batch, a, true));
    if (items == whole) {
        return false; /* of a segment each */
    }
    int64_t state_bytes = state_floats(split_rows(a), padded(a->cache.head_dim)) * (int64_t)sizeof(float);
    return items * state_bytes <= MR_NAME(mr_attention_shared_bytes)(a, thread->batch, thread->count);
}

static void attend_split(mr_thread *thread, const mr_attention_args *a) {
    walk k = start_walk(thread->batch, a, true);
    int64_t items = count_items(k);
    int64_t rows = split_rows(a);
    int64_t state_size = state_floats(rows, padded(a->cache.head_dim));
    float *states = (float *)thread->shared;
    work w;
    state total;
    state segment;
    int64_t gathered = -1; /* the first item of the unit whose queries are there */
    enter_run(&k);
    for (int64_t item; (item = mr_claim(thread, 1, items)) < items;) {
        unit u = find_unit(&k, item);
        int64_t number = (item - k.first) % k.segments;
        if (item - number != gathered) {
            gathered = -1;
            if (!MR_NAME(mr_unit_begin)(thread, a, &u, &w)) {
                continue;
            }
            MR_NAME(mr_unit_rows)(thread, &w, &total, &segment);
            gathered = item - number;
        }
        int64_t from = (w.begin / MR_SEGMENT + number) * MR_SEGMENT;
        segment = state_at(states + item * state_size, rows);
        MR_NAME(mr_unit_segment)(&w, &segment, mr_max(from, w.begin), mr_min(from + MR_SEGMENT, w.end));
    }
    mr_barrier(thread);
    /* Units are found by the number of their first item among the items; heads of a run follow each other. */
    walk units = start_walk(thread->batch, a, true);
    units.split = false;
    int64_t count = count_items(units);
    k = start_walk(thread->batch, a, true);
    enter_run(&k);
    enter_run(&units);
    for (int64_t item; (item = mr_claim(thread, 1, count)) < count;) {
        unit u = find_unit(&units, item);
        if (k.sequence > units.sequence || (k.sequence == units.sequence && k.offset > units.offset)) {
            restart(&k);
        }
        while (k.sequence != units.sequence || k.offset != units.offset) {
            next_run(&k);
        }
        if (!MR_NAME(mr_unit_begin)(thread, a, &u, &w)) {
            continue;
        }
        int64_t first = k.first + u.head * k.segments;
        total = state_at(states + first * state_size, rows);
        for (int64_t i = 1; i < k.segments; i++) {
            segment = state_at(states + (first + i) * state_size, rows);
            MR_NAME(mr_unit_merge)(&w, &total, &segment);
        }
        MR_NAME(mr_unit_write)(&w, &total);
    }
}

/* In a step of one token a sequence no item needs a key or a query that another one makes, unless segments are items: nobody may share what
 * such a step writes (io.millrace.kernels.Batch). */
bool MR_NAME(mr_attention_takes_rope)(const mr_thread *thread, const mr_attention_args *a) {
    return thread->batch->counts[0] == thread->batch->counts[1] && !worth_splitting(thread, a);
}

void MR_NAME(mr_attention)(mr_thread *thread, const mr_attention_args *a, const mr_rope_args *before) {
    if (before == NULL && worth_splitting(thread, a)) {
        attend_split(thread, a);
        return;
    }
    walk k = start_walk(thread->batch, a, false);
    int64_t items = count_items(k);
    enter_run(&k);
    for (int64_t item; (item = mr_claim(thread, 1, items)) < items;) {
        unit u = find_unit(&k, item);
        if (before == NULL || MR_NAME(mr_rope_token)(thread, before, u.token, u.head)) {
            MR_NAME(mr_unit_attend)(thread, a, &u);
        }
    }
}

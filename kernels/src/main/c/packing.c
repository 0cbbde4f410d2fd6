/*
 * When weights are packed. Packing is mostly the first touch of as much fresh memory as the model takes, seconds for gigabytes, and most of
 * the time from start to ready. So a weight may be announced with its source and packed later, tile by tile:
 *
 *   mr_pack_some        between steps, for as long as its caller has nothing better to do
 *   mr_deferred_tile    in a step that meets a tile which is not packed. A share of the tiles goes to its place, so that a server that is
 *                       never idle gets done too; the others are packed into memory of the thread that stays in its cache, are multiplied
 *                       and forgotten, which costs a small part of the first touch
 *
 * The bytes of a tile are the same either way, so results are. A tile goes from TODO to BUSY by whoever packs it, then to DONE; in its place
 * it is read only when DONE.
 */
#include "format.h"
#include "team.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TODO = 0, BUSY = 1, DONE = 2 };

/* Of all that was deferred, a step packs this share into place: after so many steps all is done. Each is at most about twice as long for it. */
#define STEP_SHARE 16
#define STEP_LEAST (64 << 10)

static int64_t num_tiles(const mr_packing *w) { return mr_ceil_div(w->out_features, MR_TILE_COLS); }

static int64_t tile_bytes(const mr_packing *w) { return mr_tile_bytes(w->format, w->in_features); }

static uint8_t state_of(const mr_packing *w, int64_t tile) { return __atomic_load_n(&w->state[tile], __ATOMIC_ACQUIRE); }

/* Whether the caller is the one to pack it. */
static bool take(const mr_packing *w, int64_t tile) {
    uint8_t expected = TODO;
    return __atomic_compare_exchange_n(&w->state[tile], &expected, BUSY, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static void pack_in_place(mr_thread *thread, const mr_packing *w, int64_t tile, bool near) {
    thread->kernels->pack_tile(w, tile, w->out + tile * tile_bytes(w), near);
    if (w->state != NULL) {
        __atomic_store_n(&w->state[tile], DONE, __ATOMIC_RELEASE);
        atomic_fetch_sub_explicit(&thread->team->bytes_to_pack, tile_bytes(w), memory_order_release);
    }
}

void mr_pack(mr_thread *thread, const mr_pack_args *a) {
    int64_t items = a->end - a->begin;
    for (int64_t index; (index = mr_claim(thread, 1, items)) < items;) {
        const mr_packing *w = a->weights;
        int64_t tile = a->begin + index;
        for (; tile >= num_tiles(w); w++) {
            tile -= num_tiles(w);
        }
        if (w->state == NULL || take(w, tile)) {
            pack_in_place(thread, w, tile, false);
        }
    }
}

bool mr_is_deferred(const mr_thread *thread, const mr_weight *weight) {
    return weight->deferred > 0 && atomic_load_explicit(&thread->team->bytes_to_pack, memory_order_acquire) > 0;
}

static char *own_tile(const mr_thread *thread) { return thread->team->tiles + thread->team->tile_stride * thread->id; }

const char *mr_deferred_tile(mr_thread *thread, const mr_weight *weight, int64_t tile) {
    mr_team *team = thread->team;
    const mr_packing *w = &team->deferred[weight->deferred - 1];
    char *place = w->out + tile * tile_bytes(w);
    uint8_t state = state_of(w, tile);
    if (state == DONE) {
        return place;
    }
    if (state == TODO && atomic_load_explicit(&team->step_bytes, memory_order_relaxed) > 0 && take(w, tile)) {
        atomic_fetch_sub_explicit(&team->step_bytes, tile_bytes(w), memory_order_relaxed);
        pack_in_place(thread, w, tile, true);
        return place;
    }
    char *own = own_tile(thread);
    if (tile == num_tiles(w) - 1 || w->in_features % mr_record_k(w->format) != 0) {
        memset(own, 0, (size_t)tile_bytes(w)); /* what lies past the last column, or the last k, has no source, and holds zeros in the place */
    }
    thread->kernels->pack_tile(w, tile, own, true);
    return own;
}

const char *mr_deferred_column(mr_thread *thread, const mr_weight *weight, int64_t row) {
    const mr_packing *w = &thread->team->deferred[weight->deferred - 1];
    if (state_of(w, row / MR_TILE_COLS) == DONE) {
        return w->out + row / MR_TILE_COLS * tile_bytes(w);
    }
    char *own = own_tile(thread);
    thread->kernels->pack_column(w, row, own);
    return own;
}

/* Checks the arguments of a weight, and of rows of it unless `rows` is negative. */
static int32_t check(mr_team *team, int64_t out_features, int64_t in_features, int32_t format, int64_t first, int64_t rows, int32_t source_format,
                     int32_t pair_rows) {
    bool rounds = format == MR_FORMAT_BF16_PAIRS && source_format >= MR_FORMAT_F32 && source_format <= MR_FORMAT_BF16;
    bool weight = out_features > 0 && in_features > 0 && mr_is_format(format)
                  && !(mr_is_quantised(format) && in_features % mr_record_k(format) != 0)
                  && !(format == MR_FORMAT_BF16_PAIRS && !mr_has_bf16_dot(team->isa));
    bool part = rows < 0
                || (first >= 0 && first <= out_features && rows <= out_features - first && (format == MR_FORMAT_BF16_PAIRS ? rounds : format == source_format)
                    && (pair_rows == 0 || (pair_rows > 0 && pair_rows % 2 == 0 && rows % pair_rows == 0)));
    if (weight && part) {
        return MR_OK;
    }
    snprintf(team->error, sizeof team->error, "cannot pack rows [%lld, %lld), %d to a head, of a weight [%lld, %lld] of format %d from %d",
             (long long)first, (long long)(first + rows), (int)pair_rows, (long long)out_features, (long long)in_features, (int)format,
             (int)source_format);
    return MR_E_ARGUMENT;
}

static int32_t run(mr_team *team, mr_packing *weights, int64_t begin, int64_t end) {
    mr_pack_args args = {weights, begin, end};
    team->pack = &args;
    int32_t status = mr_team_run(team);
    team->pack = NULL;
    return status;
}

int32_t mr_pack_weight(mr_team *team, void *out, int64_t out_features, int64_t in_features, int32_t format, int64_t first, int64_t rows,
                       const void *source, int32_t source_format, int32_t pair_rows) {
    int32_t status = rows < 0 ? MR_E_ARGUMENT : check(team, out_features, in_features, format, first, rows, source_format, pair_rows);
    if (status != MR_OK || rows == 0) {
        return status;
    }
    mr_rows_at part = {source, first, rows, source_format, pair_rows};
    mr_packing weight = {out, out_features, in_features, format, 1, &part, NULL};
    return run(team, &weight, first / MR_TILE_COLS, mr_ceil_div(first + rows, MR_TILE_COLS));
}

static int32_t no_memory(mr_team *team, int64_t bytes) {
    snprintf(team->error, sizeof team->error, "no memory for %lld bytes about a weight that is packed later", (long long)bytes);
    return MR_E_MEMORY;
}

/* Room in an array for one element more, twice as many where there is none; NULL if refused. */
static void *room(void *array, int32_t count, size_t size) {
    return (count & (count - 1)) != 0 ? array : realloc(array, (size_t)(count == 0 ? 1 : 2 * count) * size);
}

int32_t mr_defer_weight(mr_team *team, void *out, int64_t out_features, int64_t in_features, int32_t format) {
    int32_t status = check(team, out_features, in_features, format, 0, -1, format, 0);
    if (status != MR_OK) {
        return status;
    }
    int64_t stride = mr_round_up(mr_tile_bytes(format, in_features), 4096);
    if (stride > team->tile_stride) {
        char *tiles = mr_memory_allocate(stride * team->threads); /* not touched before it is needed */
        if (tiles == NULL) {
            return no_memory(team, stride * team->threads);
        }
        mr_memory_free(team->tiles, team->tile_stride * team->threads);
        team->tiles = tiles;
        team->tile_stride = stride;
    }
    mr_packing weight = {out, out_features, in_features, format, 0, NULL, NULL};
    mr_packing *grown = room(team->deferred, team->num_deferred, sizeof weight);
    if (grown == NULL) {
        return no_memory(team, 2 * team->num_deferred * (int64_t)sizeof weight);
    }
    team->deferred = grown;
    weight.state = calloc((size_t)num_tiles(&weight), 1);
    if (weight.state == NULL) {
        return no_memory(team, num_tiles(&weight));
    }
    grown[team->num_deferred++] = weight;
    team->deferred_bytes += num_tiles(&weight) * tile_bytes(&weight);
    atomic_fetch_add(&team->bytes_to_pack, num_tiles(&weight) * tile_bytes(&weight));
    return team->num_deferred;
}

int32_t mr_defer_rows(mr_team *team, int32_t weight, int64_t first, int64_t rows, const void *source, int32_t source_format, int32_t pair_rows) {
    if (weight <= 0 || weight > team->num_deferred || rows < 0) {
        snprintf(team->error, sizeof team->error, "%lld rows for weight %d of %d", (long long)rows, (int)weight, (int)team->num_deferred);
        return MR_E_ARGUMENT;
    }
    mr_packing *w = &team->deferred[weight - 1];
    int32_t status = check(team, w->out_features, w->in_features, w->format, first, rows, source_format, pair_rows);
    if (status != MR_OK) {
        return status;
    }
    mr_rows_at part = {source, first, rows, source_format, pair_rows};
    mr_rows_at *grown = room(w->sources, w->num_sources, sizeof part);
    if (grown == NULL) {
        return no_memory(team, 2 * w->num_sources * (int64_t)sizeof part);
    }
    w->sources = grown;
    grown[w->num_sources++] = part;
    return MR_OK;
}

/* What the step has left of its share goes to tiles that steps do not meet: an embedding is read column by column, wherever it lies. */
void mr_packing_rest(mr_team *team) {
    int64_t left = atomic_load_explicit(&team->step_bytes, memory_order_relaxed);
    if (mr_bytes_to_pack(team) > 0 && left > 0) {
        (void)mr_pack_some(team, left);
    }
}

void mr_packing_step(mr_team *team) {
    if (mr_bytes_to_pack(team) > 0) {
        atomic_store_explicit(&team->step_bytes, mr_max(STEP_LEAST, team->deferred_bytes / STEP_SHARE), memory_order_relaxed);
    }
}

int64_t mr_bytes_to_pack(const mr_team *team) { return atomic_load_explicit(&team->bytes_to_pack, memory_order_acquire); }

int64_t mr_pack_some(mr_team *team, int64_t bytes) {
    /* The next tiles in order that make up so many bytes; those that steps have packed do not count. */
    int64_t begin = team->next_deferred;
    int64_t end = begin;
    int64_t before = 0; /* tiles of the weights before */
    for (int32_t i = 0; i < team->num_deferred && bytes > 0; i++) {
        const mr_packing *w = &team->deferred[i];
        for (int64_t tile = end - before; tile < num_tiles(w) && bytes > 0; tile++, end++) {
            bytes -= state_of(w, tile) == TODO ? tile_bytes(w) : 0;
        }
        before += num_tiles(w);
    }
    if (end > begin && mr_bytes_to_pack(team) > 0 && run(team, team->deferred, begin, end) != MR_OK) {
        return mr_bytes_to_pack(team);
    }
    team->next_deferred = end;
    return mr_bytes_to_pack(team);
}

void mr_packing_free(mr_team *team) {
    for (int32_t i = 0; i < team->num_deferred; i++) {
        free(team->deferred[i].sources);
        free(team->deferred[i].state);
    }
    free(team->deferred);
    mr_memory_free(team->tiles, team->tile_stride * team->threads);
}

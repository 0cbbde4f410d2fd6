/* The thread team: start, barrier, work claiming, parking. Everything here is compiled once, for the baseline of the target. */
#define _GNU_SOURCE
#include "team.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#define mr_pause() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define mr_pause() __asm__ volatile("yield")
#else
#define mr_pause() ((void)0)
#endif

/* Spins before a waiting thread gives its core away: about 40 us at the 20 ns or so of a pause instruction. Longer than the gap between two
 * ops of a program or two steps of a busy server; short enough that an idle server costs nothing. */
#define MR_SPINS 2000

/* Spins for a while, then lets others run: with more threads than free cores the one we wait for may need this core. */
static inline void wait_a_little(int spins) {
    if (spins < MR_SPINS) {
        mr_pause();
    } else {
        sched_yield();
    }
}

/*
 * A phase ends when all its items are DONE. `done` counts the finished items of the whole job and only grows; every thread knows from the
 * sizes of the phases so far what the count will be at the end of the present one (`target`). One word, so the last report is what the
 * waiting threads see; nothing is set back, so nobody can come too late.
 *
 * Items are cut into one share per member; its word says how many of them are taken, and in which phase. A member takes from its own share
 * first, one cache line that nobody else wants, and the same part of a weight in every step; then from the others', in turn. Whether a word
 * is of this phase, of an earlier one (nothing is taken yet) or of a later one (the phase is over) is seen from the phase in it.
 *
 * Memory order. What a thread wrote for an item comes before its report of that item, a release; every report is a read-modify-write, so a
 * thread that sees the count at the target with an acquire has seen every report before it, and all that was written for them. The words of
 * the shares order nothing: a compare-and-swap takes from the latest value or fails. A stale word cannot make a thread skip items: "all
 * taken in this phase" stays true until the phase ends, and a later phase is only written by who has passed this one's end. Nor can a thread
 * that comes late take an item of a phase that is over: each share's word is then "all taken" or of a later phase. As who holds an item has
 * not reported it, its phase cannot end under it: what an op reads, it reads between taking an item and reporting it.
 */
static void look_at(mr_thread *thread, int32_t member) {
    int64_t count = thread->count;
    thread->member = member;
    thread->share_begin = mr_ceil_div(thread->items * member, count);
    thread->share = mr_ceil_div(thread->items * (member + 1), count) - thread->share_begin;
}

int64_t mr_claim(mr_thread *thread, int64_t chunk, int64_t items) {
    mr_team *team = thread->team;
    if (thread->member < 0) {
        thread->items = items;
        thread->shares_left = thread->count;
        look_at(thread, thread->id);
    }
    uint64_t mine = (uint64_t)thread->phase << 32;
    while (thread->shares_left > 0) {
        _Atomic uint64_t *work = &team->members[thread->member].work;
        uint64_t word = thread->share == 0 ? mine : atomic_load_explicit(work, memory_order_relaxed);
        for (;;) {
            if (word >> 32 > thread->phase) {
                thread->shares_left = 0; /* the phase is over; we hold nothing, or it could not be */
                return items;
            }
            int64_t taken = word >= mine ? (int64_t)(word - mine) : 0;
            int64_t some = mr_min(chunk, thread->share - taken);
            if (some <= 0) {
                break;
            }
            if (atomic_compare_exchange_weak_explicit(work, &word, mine + (uint64_t)(taken + some), memory_order_relaxed, memory_order_relaxed)) {
                thread->taken = some;
                thread->held += some;
                return thread->share_begin + taken;
            }
        }
        thread->shares_left--;
        look_at(thread, thread->member + 1 < thread->count ? thread->member + 1 : 0);
    }
    if (thread->held > 0) {
        atomic_fetch_add_explicit(&team->done, thread->held, memory_order_acq_rel);
        thread->held = 0;
    }
    return items;
}

void mr_barrier(mr_thread *thread) {
    mr_team *team = thread->team;
    thread->target += thread->member < 0 ? 0 : thread->items;
    for (int spins = 0; atomic_load_explicit(&team->done, memory_order_acquire) < thread->target; spins++) {
        if (thread->ahead < thread->ahead_end) {
            mr_ask(thread, 4);
        } else {
            wait_a_little(spins);
        }
    }
    thread->phase++;
    thread->member = -1;
}

void mr_fail(mr_thread *thread, int32_t status, const char *format, int64_t a, int64_t b, int64_t c) {
    mr_team *team = thread->team;
    int32_t expected = MR_OK;
    if (atomic_compare_exchange_strong(&team->status, &expected, status)) {
        snprintf(team->error, sizeof team->error, format, (long long)a, (long long)b, (long long)c);
    }
}

/* Runs the present job from the point of view of one thread, up to the end of its last phase. */
static void run_job(mr_thread *thread) {
    mr_team *team = thread->team;
    thread->batch = team->batch;
    thread->phase = team->first_phase;
    thread->member = -1;
    thread->target = 0;
    thread->ahead = thread->ahead_end = NULL;
    thread->next_linear = NULL;
    thread->held = 0;
    thread->scratch = team->scratch == NULL ? NULL : team->scratch + team->scratch_stride * thread->id;
    thread->shared = team->shared;
    if (team->pack != NULL) {
        mr_pack(thread, team->pack);
        mr_barrier(thread);
    } else if (team->quantize != NULL) {
        team->kernels->quantize(thread, team->quantize);
        mr_barrier(thread);
    } else if (team->probe != NULL) {
        mr_measure(thread, team->probe);
        mr_barrier(thread);
    } else {
        mr_program_steps(thread, team->kernels, team->ops, team->num_ops);
    }
}

static uint64_t await_job(mr_team *team, uint64_t seen) {
    for (int spins = 0; spins < MR_SPINS; spins++) {
        uint64_t epoch = atomic_load_explicit(&team->epoch, memory_order_acquire);
        if (epoch != seen) {
            return epoch;
        }
        mr_pause();
    }
    pthread_mutex_lock(&team->mutex);
    atomic_fetch_add(&team->parked, 1);
    uint64_t epoch;
    while ((epoch = atomic_load(&team->epoch)) == seen) {
        pthread_cond_wait(&team->wake, &team->mutex);
    }
    atomic_fetch_sub(&team->parked, 1);
    pthread_mutex_unlock(&team->mutex);
    return epoch;
}

static void *worker(void *argument) {
    mr_thread *thread = argument;
    mr_team *team = thread->team;
    uint64_t seen = 0;
    /* The job that this thread has been through, which may be later than the one that woke it, and earlier than it is announced: who went
     * through one twice would set back the phase it has reached. */
    uint64_t ran = 0;
    for (;;) {
        seen = await_job(team, seen);
        if (atomic_load_explicit(&team->ending, memory_order_acquire)) {
            return NULL;
        }
        /* Sequentially consistent on both sides: either we see that the job is closed or the caller sees us inside. */
        atomic_fetch_add(&team->active, 1);
        uint64_t open = atomic_load(&team->open);
        if (open != 0 && open != ran) {
            run_job(thread);
            ran = open;
        }
        atomic_fetch_sub(&team->active, 1);
    }
}

static void announce(mr_team *team) {
    /* Sequentially consistent on both sides: either the worker sees the new epoch or we see it parked. */
    atomic_fetch_add(&team->epoch, 1);
    if (atomic_load(&team->parked) > 0) {
        pthread_mutex_lock(&team->mutex);
        pthread_cond_broadcast(&team->wake);
        pthread_mutex_unlock(&team->mutex);
    }
}

#if defined(__linux__)
/* A set that holds every processor a machine can have. */
typedef struct cpu_mask {
    unsigned long words[MR_MAX_CPUS / (8 * sizeof(unsigned long))];
} cpu_mask;

static bool bind_to(pthread_t thread, int32_t cpu) {
    cpu_mask mask = {{0}};
    mask.words[cpu / (8 * (int32_t)sizeof(unsigned long))] = 1ul << cpu % (8 * (int32_t)sizeof(unsigned long));
    return pthread_setaffinity_np(thread, sizeof mask, (const cpu_set_t *)&mask) == 0;
}

/* The caller's thread is not ours: it is bound for the job alone, and threads it makes elsewhere do not inherit the binding. */
static bool bind_caller(const mr_team *team, cpu_mask *before) {
    return team->num_cpus > 0 && pthread_getaffinity_np(pthread_self(), sizeof *before, (cpu_set_t *)before) == 0
           && bind_to(pthread_self(), team->cpus[0]);
}

static void release_caller(const cpu_mask *before) {
    (void)pthread_setaffinity_np(pthread_self(), sizeof *before, (const cpu_set_t *)before);
}

int32_t mr_team_bind(mr_team *team, const int32_t *cpus, int32_t count) {
    int32_t *copy = count > 0 ? malloc((size_t)count * sizeof *copy) : NULL;
    if (copy == NULL) {
        snprintf(team->error, sizeof team->error, "no list of processors to bind %d threads to", (int)team->threads);
        return MR_E_ARGUMENT;
    }
    memcpy(copy, cpus, (size_t)count * sizeof *copy);
    free(team->cpus);
    team->cpus = copy;
    team->num_cpus = count;
    for (int32_t i = 0; i < team->threads; i++) {
        int32_t cpu = cpus[i % count];
        cpu_mask before;
        bool bound = cpu >= 0 && cpu < MR_MAX_CPUS && (i == 0 ? bind_caller(team, &before) : bind_to(team->members[i].handle, cpu));
        if (bound && i == 0) {
            release_caller(&before);
        }
        if (!bound) {
            snprintf(team->error, sizeof team->error, "thread %d cannot be bound to processor %d: it is not there, or not this process's",
                     (int)i, (int)cpu);
            team->num_cpus = 0;
            return MR_E_ARGUMENT;
        }
    }
    return MR_OK;
}
#else
int32_t mr_team_bind(mr_team *team, const int32_t *cpus, int32_t count) {
    (void)cpus;
    (void)count;
    snprintf(team->error, sizeof team->error, "this operating system binds no threads to processors");
    return MR_E_ARGUMENT;
}
#endif

static int32_t run_bound(mr_team *team);

int32_t mr_team_run(mr_team *team) {
#if defined(__linux__)
    cpu_mask before;
    bool bound = bind_caller(team, &before);
    int32_t status = run_bound(team);
    if (bound) {
        release_caller(&before);
    }
    return status;
#else
    return run_bound(team);
#endif
}

static int32_t run_bound(mr_team *team) {
    atomic_store(&team->status, MR_OK);
    /* No worker is inside: what they share can be set anew. No share is further than the caller was at the end of the job before. */
    team->first_phase = team->members[0].thread.phase;
    if (team->first_phase > UINT32_MAX / 2) {
        for (int32_t i = 0; i < team->threads; i++) {
            atomic_store(&team->members[i].work, 0);
        }
        team->first_phase = 1;
    }
    atomic_store(&team->done, 0);
    if (team->threads > 1) {
        atomic_store(&team->open, atomic_load(&team->epoch) + 1);
        announce(team);
    }
    run_job(&team->members[0].thread);
    if (team->threads > 1) {
        /* A worker that never woke up stays out; one that is inside may still read the program. */
        atomic_store(&team->open, 0);
        for (int spins = 0; atomic_load(&team->active) != 0; spins++) {
            wait_a_little(spins);
        }
    }
    int32_t status = atomic_load(&team->status);
    for (int32_t i = 1; status != MR_OK && i < team->threads; i++) {
        /* Who saw the failure at once left a phase before those who were in the next one already. */
        uint32_t phase = team->members[i].thread.phase;
        team->members[0].thread.phase = phase > team->members[0].thread.phase ? phase : team->members[0].thread.phase;
    }
    return status;
}

static bool start_worker(mr_team *team, int32_t id) {
    /* Signals belong to the threads of the virtual machine. */
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&team->members[id].handle, NULL, worker, &team->members[id].thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
#if defined(__linux__)
    if (!failed) {
        char name[24];
        snprintf(name, sizeof name, "millrace-%d", (int)(id % 1000));
        pthread_setname_np(team->members[id].handle, name);
    }
#endif
    return !failed;
}

mr_team *mr_team_create(int32_t threads, int32_t isa, int32_t *status) {
    int32_t chosen = isa == MR_ISA_AUTO ? mr_best_isa() : isa;
    const mr_kernels *kernels = mr_kernels_of(chosen);
    if (threads < 1 || threads > MR_MAX_THREADS || kernels == NULL) {
        *status = kernels == NULL ? MR_E_ISA : MR_E_ARGUMENT;
        return NULL;
    }
    mr_team *team = NULL;
    if (posix_memalign((void **)&team, MR_CACHE_LINE, sizeof *team + (size_t)threads * sizeof(mr_member)) != 0) {
        *status = MR_E_MEMORY;
        return NULL;
    }
    memset(team, 0, sizeof *team + (size_t)threads * sizeof(mr_member));
    atomic_store(&team->position, -1);
    team->threads = threads;
    team->isa = chosen;
    team->kernels = kernels;
    pthread_mutex_init(&team->mutex, NULL);
    pthread_cond_init(&team->wake, NULL);
    for (int32_t i = 0; i < threads; i++) {
        team->members[i].thread = (mr_thread){.team = team, .kernels = kernels, .id = i, .count = threads, .phase = 1};
    }
    for (int32_t i = 1; i < threads; i++) {
        if (!start_worker(team, i)) {
            mr_team_destroy(team);
            *status = MR_E_THREAD;
            return NULL;
        }
        team->started = i;
    }
    *status = MR_OK;
    return team;
}

void mr_team_destroy(mr_team *team) {
    if (team == NULL) {
        return;
    }
    atomic_store(&team->ending, true);
    announce(team);
    for (int32_t i = 1; i <= team->started; i++) {
        pthread_join(team->members[i].handle, NULL);
    }
    pthread_cond_destroy(&team->wake);
    pthread_mutex_destroy(&team->mutex);
    mr_memory_free(team->scratch, team->scratch_stride * team->threads);
    mr_memory_free(team->shared, team->shared_bytes);
    mr_packing_free(team);
    free(team->cpus);
    free(team);
}

/* Grows the working memory; what was in it is lost. */
int32_t mr_team_reserve(mr_team *team, int64_t scratch_bytes, int64_t shared_bytes) {
    int64_t stride = mr_round_up(scratch_bytes, 4096);
    if (stride > team->scratch_stride) {
        char *scratch = mr_memory_allocate(stride * team->threads);
        if (scratch == NULL) {
            return MR_E_MEMORY;
        }
        mr_memory_free(team->scratch, team->scratch_stride * team->threads);
        team->scratch = scratch;
        team->scratch_stride = stride;
    }
    if (shared_bytes > team->shared_bytes) {
        char *shared = mr_memory_allocate(shared_bytes);
        if (shared == NULL) {
            return MR_E_MEMORY;
        }
        mr_memory_free(team->shared, team->shared_bytes);
        team->shared = shared;
        team->shared_bytes = shared_bytes;
    }
    return MR_OK;
}

int32_t mr_team_threads(const mr_team *team) { return team->threads; }

int32_t mr_team_isa(const mr_team *team) { return team->isa; }

int32_t mr_team_position(const mr_team *team) { return atomic_load_explicit(&team->position, memory_order_relaxed); }

const char *mr_last_error(const mr_team *team) { return team->error; }

int64_t mr_team_scratch_bytes(const mr_team *team) { return (team->scratch_stride + team->tile_stride) * team->threads + team->shared_bytes; }

/* The team's state, shared by team.c and program.c. */
#ifndef MILLRACE_TEAM_H
#define MILLRACE_TEAM_H

#include "internal.h"

#include <pthread.h>
#include <stdatomic.h>

#define MR_MAX_THREADS 1024
#define MR_MAX_CPUS 8192
#define MR_ALIGNED _Alignas(MR_CACHE_LINE)

typedef struct mr_member {
    MR_ALIGNED _Atomic uint64_t work; /* its share of a phase: the phase in the upper half, items taken in the lower */
    MR_ALIGNED mr_thread thread;
    pthread_t handle;
} mr_member;

/* Words that several threads write are a cache line apart from those that are only read during a step. */
struct mr_team {
    MR_ALIGNED _Atomic int64_t done;    /* items of the present job that are finished */
    MR_ALIGNED _Atomic uint64_t epoch;  /* jobs announced so far */
    _Atomic uint64_t open;              /* the epoch of the job that workers may enter, 0 if none */
    MR_ALIGNED _Atomic int32_t active;  /* workers that may be inside the job */
    _Atomic int32_t parked;
    _Atomic int32_t status;
    _Atomic bool ending;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    char error[256];

    /* The present job: a program, a weight to pack or to quantise, or a probe. Written by the caller before the epoch is raised. */
    MR_ALIGNED const mr_op *ops;
    const mr_batch *batch;
    const mr_pack_args *pack;
    const mr_quantize_args *quantize;
    mr_probe_args *probe;
    int32_t num_ops;
    uint32_t first_phase;

    MR_ALIGNED _Atomic int32_t position; /* of the caller in its program, -1 outside */

    /* Weights that are packed later; see packing.c. */
    MR_ALIGNED _Atomic int64_t bytes_to_pack; /* of packed tiles that are not there yet */
    _Atomic int64_t step_bytes;               /* that this step may still pack into place */

    MR_ALIGNED int32_t threads;
    int32_t isa;
    int32_t num_cpus; /* 0: threads run where the system puts them */
    int32_t *cpus;    /* member i runs on cpus[i % num_cpus] */
    int32_t started; /* workers that were started and must be joined */
    const mr_kernels *kernels;
    char *scratch;
    int64_t scratch_stride;
    char *shared;
    int64_t shared_bytes;
    mr_packing *deferred;
    int64_t deferred_bytes;
    int64_t next_deferred; /* tiles before this one were packed by mr_pack_some, or by steps */
    char *tiles;           /* one tile of working memory for each thread */
    int64_t tile_stride;
    int32_t num_deferred;
    mr_member members[];
};

int32_t mr_team_reserve(mr_team *team, int64_t scratch_bytes, int64_t shared_bytes);

/* Runs the job that was set and waits for all threads; returns its status. */
int32_t mr_team_run(mr_team *team);

/* Before a program runs: what it may pack into place. And after it: the part that it has left. */
void mr_packing_step(mr_team *team);
void mr_packing_rest(mr_team *team);

void mr_packing_free(mr_team *team);

void mr_program_steps(mr_thread *thread, const mr_kernels *kernels, const mr_op *ops, int32_t num_ops);

#endif

/* Programs: checked and given working memory once, then run step after step by the team. */
#include "format.h"
#include "team.h"

#include <stdio.h>

/* The norm of a residual to which the linear before has added. */
static void rms_norm_of_sum(mr_thread *thread, const mr_kernels *kernels, const mr_add_rms_norm_args *a) {
    mr_rms_norm_args norm = {a->residual, a->weight, a->out, a->eps, 0};
    kernels->rms_norm(thread, &norm);
}

static void run_op(mr_thread *thread, const mr_kernels *kernels, const mr_op *op) {
    switch (op->kind) {
        case MR_OP_EMBED: kernels->embed(thread, &op->args.embed); break;
        case MR_OP_RMS_NORM: kernels->rms_norm(thread, &op->args.rms_norm); break;
        case MR_OP_ADD_RMS_NORM:
            if (op->plan & MR_PLAN_ADDED) {
                rms_norm_of_sum(thread, kernels, &op->args.add_rms_norm);
            } else {
                kernels->add_rms_norm(thread, &op->args.add_rms_norm);
            }
            break;
        case MR_OP_ADD: kernels->add(thread, &op->args.add); break;
        case MR_OP_LINEAR: kernels->linear(thread, op); break;
        case MR_OP_ROPE_AND_CACHE: kernels->rope(thread, &op->args.rope); break;
        case MR_OP_ATTENTION: kernels->attention(thread, &op->args.attention, NULL); break;
        case MR_OP_SWIGLU: kernels->swiglu(thread, &op->args.swiglu); break;
        case MR_OP_GEGLU: kernels->geglu(thread, &op->args.swiglu); break;
        case MR_OP_SOFT_CAP: kernels->soft_cap(thread, &op->args.soft_cap); break;
        case MR_OP_GATHER_LOGIT_ROWS: kernels->gather(thread, &op->args.gather); break;
        case MR_OP_SAMPLE: kernels->sample(thread, &op->args.sample); break;
        default: break; /* mr_program_prepare lets no other kind through */
    }
}

/* More than a thread waits for, far less than L2 holds. */
#define AHEAD_BYTES (128 << 10)
/* Rows from which on a linear computes longer than it reads. */
#define AHEAD_ROWS 32

void mr_aim(mr_thread *thread, const mr_op *linear) {
    thread->ahead = thread->ahead_end = NULL;
    if (linear == NULL || mr_rows(thread->batch, &linear->args.linear.x) > AHEAD_ROWS) {
        return;
    }
    int64_t tiles = mr_chain_tiles(&linear->args.linear.weight);
    int64_t first = mr_ceil_div(tiles * thread->id, thread->count); /* as mr_claim shares them out */
    for (const mr_weight *w = &linear->args.linear.weight; w != NULL; w = w->next) {
        int64_t count = mr_num_tiles(w);
        if (first < count) {
            int64_t tile_bytes = mr_tile_bytes(w->format, w->in_features);
            if (!mr_is_deferred(thread, w)) {
                thread->ahead = (const char *)w->data + first * tile_bytes;
                thread->ahead_end = thread->ahead + mr_min(AHEAD_BYTES, (count - first) * tile_bytes);
            }
            return;
        }
        first -= count;
    }
}

static const mr_op *next_linear(const mr_op *ops, int32_t num_ops, int32_t i) {
    do {
        i++;
    } while (i < num_ops && ops[i].kind != MR_OP_LINEAR);
    return i < num_ops ? &ops[i] : NULL;
}

void mr_program_steps(mr_thread *thread, const mr_kernels *kernels, const mr_op *ops, int32_t num_ops) {
    for (int32_t i = 0; i < num_ops; i++) {
        if (ops[i].plan & MR_PLAN_MERGED) {
            continue;
        }
        const mr_rope_args *rope = NULL;
        if (ops[i].plan & MR_PLAN_WITH_NEXT && kernels->attention_takes_rope(thread, &ops[i + 1].args.attention)) {
            rope = &ops[i++].args.rope;
        }
        if (thread->id == 0) {
            atomic_store_explicit(&thread->team->position, i, memory_order_relaxed);
        }
        thread->next_linear = next_linear(ops, num_ops, i);
        if (ops[i].kind != MR_OP_LINEAR) {
            mr_aim(thread, thread->next_linear);
        }
        if (rope != NULL) {
            kernels->attention(thread, &ops[i].args.attention, rope);
        } else {
            run_op(thread, kernels, &ops[i]);
        }
        mr_barrier(thread);
        if (atomic_load_explicit(&thread->team->status, memory_order_relaxed) != MR_OK) {
            return; /* later ops may rely on what the failed one should have checked or written */
        }
    }
}

int32_t mr_program_prepare(mr_team *team, mr_op *ops, int32_t num_ops, const mr_batch *batch) {
    int64_t scratch = 0;
    int64_t shared = 0;
    mr_plan(ops, num_ops);
    for (int32_t i = 0; i < num_ops; i++) {
        const mr_op *op = &ops[i];
        switch (op->kind) {
            case MR_OP_LINEAR:
                scratch = mr_max(scratch, team->kernels->linear_scratch_bytes(&op->args.linear));
                shared = mr_max(shared, team->kernels->linear_shared_bytes(&op->args.linear));
                break;
            case MR_OP_ATTENTION:
                scratch = mr_max(scratch, team->kernels->attention_scratch_bytes(&op->args.attention));
                shared = mr_max(shared, team->kernels->attention_shared_bytes(&op->args.attention, batch, team->threads));
                break;
            case MR_OP_SAMPLE: scratch = mr_max(scratch, team->kernels->sample_scratch_bytes(&op->args.sample)); break;
            default:
                if (op->kind < MR_OP_EMBED || op->kind > MR_OP_SOFT_CAP) {
                    snprintf(team->error, sizeof team->error, "op %d has the unknown kind %d", (int)i, (int)op->kind);
                    return MR_E_ARGUMENT;
                }
        }
    }
    int32_t status = mr_team_reserve(team, scratch, shared);
    if (status != MR_OK) {
        snprintf(team->error, sizeof team->error, "no memory for %lld bytes of working memory",
                 (long long)(scratch * team->threads + shared));
    }
    return status;
}

int32_t mr_program_run(mr_team *team, const mr_op *ops, int32_t num_ops, const mr_batch *batch) {
    team->ops = ops;
    team->num_ops = num_ops;
    team->batch = batch;
    team->pack = NULL;
    mr_packing_step(team);
    int32_t status = mr_team_run(team);
    atomic_store_explicit(&team->position, -1, memory_order_relaxed);
    if (status == MR_OK) {
        mr_packing_rest(team);
    }
    return status;
}

int64_t mr_packed_weight_bytes(int64_t out_features, int64_t in_features, int32_t format) {
    return mr_is_format(format) ? mr_ceil_div(out_features, MR_TILE_COLS) * mr_tile_bytes(format, in_features) : 0;
}

int32_t mr_quantize(mr_team *team, int32_t format, int32_t source_dtype, const void *source, int64_t rows, int64_t cols, void *out) {
    bool made = format == MR_FORMAT_Q8_0 || format == MR_FORMAT_Q4_0 || format == MR_FORMAT_Q5_0 || format == MR_FORMAT_Q4_K
                || format == MR_FORMAT_Q6_K;
    if (!made || rows <= 0 || cols <= 0 || cols % mr_record_k(format) != 0 || source_dtype < MR_F32 || source_dtype > MR_BF16) {
        snprintf(team->error, sizeof team->error, "cannot quantise [%lld, %lld] of type %d to format %d", (long long)rows, (long long)cols,
                 (int)source_dtype, (int)format);
        return MR_E_ARGUMENT;
    }
    mr_quantize_args args = {source, out, rows, cols, source_dtype, format};
    team->quantize = &args;
    int32_t status = mr_team_run(team);
    team->quantize = NULL;
    return status;
}

/*
 * What a program's ops can do for each other. A decoder's step is a few hundred ops, most of them a microsecond long when it has one row,
 * and between two of them all threads wait for the last one. A layer of such a step, thirteen phases if every op had its own, has six:
 *
 *   add_rms_norm, linear qkv    every thread normalizes and rounds the row for itself
 *   rope, attention             head by head
 *   linear out, residual +=     a tile's outputs are added by the thread that made them
 *   rms_norm, linear gate_up
 *   swiglu, rounding
 *   linear down, residual +=
 *
 * Only neighbours are looked at, and only where the memory that one writes is not what the other still reads: within a phase nobody knows
 * how far the other threads are. With many rows a row's norm, or gate, and its rounding are one pass by one thread, in a phase before the
 * linear.
 */
#include "internal.h"

static bool same(const mr_matrix *a, const mr_matrix *b) {
    return a->data == b->data && a->rows == b->rows && a->cols == b->cols && a->extent == b->extent;
}

/* Rows of one are those of the other. */
static bool parallel(const mr_matrix *a, const mr_matrix *b) { return a->rows == b->rows && a->extent == b->extent; }

static bool overlap(const mr_matrix *a, const mr_matrix *b) {
    uintptr_t first = (uintptr_t)a->data;
    uintptr_t second = (uintptr_t)b->data;
    uint64_t first_bytes = (uint64_t)(a->rows * a->cols) * sizeof(float);
    uint64_t second_bytes = (uint64_t)(b->rows * b->cols) * sizeof(float);
    return first < second ? second - first < first_bytes : first - second < second_bytes;
}

/* The input of a norm whose output is x, or NULL. */
static const mr_matrix *normed(const mr_op *op, const mr_matrix *x) {
    const mr_matrix *in;
    const mr_matrix *out;
    switch (op->kind) {
        case MR_OP_RMS_NORM:
            in = &op->args.rms_norm.x;
            out = &op->args.rms_norm.out;
            break;
        case MR_OP_ADD_RMS_NORM:
            in = &op->args.add_rms_norm.residual;
            out = &op->args.add_rms_norm.out;
            break;
        default: return NULL;
    }
    return same(out, x) && parallel(in, out) && !overlap(in, out) ? in : NULL;
}

/* What an op adds `delta` to, or NULL. */
static const mr_matrix *residual(const mr_op *op, const mr_matrix *delta) {
    const mr_matrix *to;
    const mr_matrix *from;
    switch (op->kind) {
        case MR_OP_ADD:
            to = &op->args.add.residual;
            from = &op->args.add.delta;
            break;
        case MR_OP_ADD_RMS_NORM:
            to = &op->args.add_rms_norm.residual;
            from = &op->args.add_rms_norm.delta;
            break;
        default: return NULL;
    }
    return same(from, delta) && parallel(to, from) && to->cols == from->cols ? to : NULL;
}

static bool gated(const mr_op *op, const mr_matrix *x) {
    const mr_swiglu_args *a = &op->args.swiglu;
    return mr_is_gate(op) && same(&a->out, x) && parallel(&a->gate_up, x)
           && a->gate_up.cols == 2 * x->cols && !overlap(&a->gate_up, x);
}

/* `written` by a linear while other threads may still read its activations, and the input of the norm that makes them, if any. */
static bool apart(const mr_matrix *written, const mr_linear_args *a, const mr_matrix *norm_input) {
    return !overlap(written, &a->x) && !overlap(written, &a->out) && (norm_input == NULL || !overlap(written, norm_input));
}

static void plan_linear(mr_op *ops, int32_t num_ops, int32_t i) {
    mr_op *op = &ops[i];
    const mr_linear_args *a = &op->args.linear;
    const mr_matrix *input = i > 0 ? normed(op - 1, &a->x) : NULL;
    if (input != NULL && (overlap(input, &a->out) || overlap(&a->x, &a->out))) {
        input = NULL;
    }
    if (input != NULL || (i > 0 && gated(op - 1, &a->x))) {
        op->plan |= MR_PLAN_TAKES_BEFORE;
        op[-1].plan |= MR_PLAN_MERGED;
    }
    const mr_matrix *sum = i + 1 < num_ops ? residual(op + 1, &a->out) : NULL;
    if (sum != NULL && apart(sum, a, input)) {
        op->plan |= MR_PLAN_ADD_AFTER;
        op[1].plan |= op[1].kind == MR_OP_ADD ? MR_PLAN_MERGED : MR_PLAN_ADDED;
    }
}

static bool rotates_for(const mr_op *op, const mr_op *next) {
    const mr_rope_args *rope = &op->args.rope;
    const mr_attention_args *attention = &next->args.attention;
    return op->kind == MR_OP_ROPE_AND_CACHE && next->kind == MR_OP_ATTENTION && same(&rope->qkv, &attention->qkv)
           && rope->cache.keys == attention->cache.keys && rope->layer == attention->layer && rope->num_heads == attention->num_heads
           && !overlap(&attention->qkv, &attention->out);
}

void mr_plan(mr_op *ops, int32_t num_ops) {
    for (int32_t i = 0; i < num_ops; i++) {
        ops[i].plan = 0;
    }
    for (int32_t i = 0; i < num_ops; i++) {
        if (ops[i].kind == MR_OP_LINEAR) {
            plan_linear(ops, num_ops, i);
        } else if (i + 1 < num_ops && rotates_for(&ops[i], &ops[i + 1])) {
            ops[i].plan |= MR_PLAN_WITH_NEXT;
        }
    }
}

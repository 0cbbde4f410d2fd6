/* What the driver of a linear (linear.c) and the preparation of its activations (linear_x.c) share. */
#ifndef MILLRACE_LINEAR_H
#define MILLRACE_LINEAR_H

#include "kernels.h"

#if defined(MR_FOR_AVX512) || defined(MR_FOR_NEON)
#define LINEAR_ROWS 12 /* 24 of 32 registers hold sums */
#else
#define LINEAR_ROWS 6 /* 12 of 16 */
#endif
#define K_BLOCK 256
/* Up to this many rows the weights stream from memory, tile by tile. */
#define SKINNY_ROWS 32
/* Up to this many rows x is read in place; its rows may then lie a power of two apart, which costs little as they are few. */
#define UNPACKED_ROWS 4

/* What the weights of a chain need the activations to be. */
typedef enum x_form { X_F32 = 1, X_CODES = 2, X_HALVES = 4 } x_form;

static inline x_form form_of(int32_t format) {
    return mr_is_quantised(format) ? X_CODES : format == MR_FORMAT_BF16_PAIRS ? X_HALVES : X_F32;
}

/* Rows per call: `most`, or fewer where that makes the calls alike. Eight rows in calls of six and two would leave the last one idle. */
static inline int64_t even_rows(int64_t rows, int64_t most) {
    return rows > SKINNY_ROWS ? most : mr_ceil_div(mr_max(1, rows), mr_ceil_div(mr_max(1, rows), most));
}

/*
 * Describes the activations of `op`, a linear, for a step of `rows` rows, and where they are not there yet has the team make them, in phases
 * of their own. Returns whether a thread is to make them for itself instead, with mr_x_make after it has taken an item.
 */
bool MR_NAME(mr_x_prepare)(mr_thread *thread, const mr_op *op, int64_t rows, mr_x *x);

void MR_NAME(mr_x_make)(mr_thread *thread, const mr_op *op, int64_t rows, mr_x *x);

/* Leaves the rows that mr_x_make has normalized where other ops look for them. For one thread of the team. */
void MR_NAME(mr_x_keep)(const mr_op *op, int64_t rows, const mr_x *x);

#endif

/*
 * The activations of a linear in the forms that its weights take: as they are, interleaved in panels, rounded to codes or to BF16.
 *
 * Where the op before is a norm or a gate, both are one pass over a row (plan.c); of few rows that are normalized or only rounded, every
 * thread makes all in its own memory, which takes less than waiting for others. The bits are the same in every case: a row is normalized
 * from its first column to its last, and rounded in runs of its own.
 */
#include "linear.h"
#include "row.h"

/* Elements that a thread makes for itself, about a microsecond; more than one row is better shared out from there on. */
#define OWN_ELEMENTS 2048

/* Lays out the forms of `rows` rows from `base` on (which may be NULL to learn the size) and returns the bytes they take. */
static int64_t lay_out(const mr_linear_args *a, int64_t rows, char *base, mr_x *x, int *forms) {
    int64_t cols = a->x.cols;
    int64_t capacity = mr_round_up(rows, LINEAR_ROWS);
    *forms = 0;
    for (const mr_weight *w = &a->weight; w != NULL; w = w->next) {
        *forms |= (int)form_of(w->format);
    }
    *x = (mr_x){.data = a->x.data, .cols = cols};
    int64_t bytes = 0;
    if (*forms & X_F32) {
        x->panels = (float *)(base + bytes);
        bytes += mr_round_up(capacity * cols * (int64_t)sizeof(float), MR_CACHE_LINE);
    }
    if (*forms & X_CODES) {
        x->blocks = (mr_x_block *)(base + bytes);
        bytes += capacity * (cols / MR_BLOCK) * (int64_t)sizeof(mr_x_block);
    }
    if (*forms & X_HALVES) {
        x->halves = (uint16_t *)(base + bytes);
        bytes += capacity * mr_round_up(cols, 2) * 2;
    }
    return bytes;
}

static int64_t own_rows(const mr_linear_args *a) { return mr_min(a->x.rows, mr_max(1, OWN_ELEMENTS / a->x.cols)); }

/* The rows themselves, where a norm makes them, and after them the forms. */
static int64_t own_row_bytes(const mr_linear_args *a) { return mr_round_up(own_rows(a) * a->x.cols * (int64_t)sizeof(float), MR_CACHE_LINE); }

int64_t MR_NAME(mr_linear_shared_bytes)(const mr_linear_args *a) {
    mr_x x;
    int forms;
    return lay_out(a, a->x.rows, NULL, &x, &forms);
}

int64_t MR_NAME(mr_linear_scratch_bytes)(const mr_linear_args *a) {
    mr_x x;
    int forms;
    return own_row_bytes(a) + lay_out(a, own_rows(a), NULL, &x, &forms);
}

/* Rounds `count` activations of a row from column k on; k is a multiple of MR_X_RUN, and so is the count unless the row ends there. */
static void round_run(const mr_thread *thread, const mr_x *x, int forms, int64_t row, int64_t k, int64_t count, const float *source) {
    if (forms & X_CODES) {
        int64_t together = x->block_rows;
        int64_t first = (row / together * (x->cols / MR_BLOCK) + k / MR_BLOCK) * together + row % together;
        thread->kernels->quant_x(source, count, x->blocks + first, together);
    }
    if (forms & X_HALVES) {
        int64_t together = x->half_rows;
        int64_t first = row / together * together * mr_round_up(x->cols, 2) + k * together + row % together * 2;
        thread->kernels->bf16_x(source, count, x->halves + first, together);
    }
}

/* panels[row / LINEAR_ROWS][k][LINEAR_ROWS], packed in runs of K_BLOCK columns. Rows past the end are left alone: they are not read. */
static void pack_panels(mr_thread *thread, const mr_x *x, int64_t rows) {
    int64_t cols = x->cols;
    int64_t blocks = mr_ceil_div(cols, K_BLOCK);
    int64_t items = mr_ceil_div(rows, LINEAR_ROWS) * blocks;
    for (int64_t item; (item = mr_claim(thread, 1, items)) < items;) {
        int64_t row = item / blocks * LINEAR_ROWS;
        int64_t k0 = item % blocks * K_BLOCK;
        int64_t k1 = mr_min(k0 + K_BLOCK, cols);
        int64_t count = mr_min(LINEAR_ROWS, rows - row);
        float *panel = x->panels + row * cols;
        for (int64_t r = 0; r < count; r++) {
            const float *source = x->data + (row + r) * cols;
            for (int64_t k = k0; k < k1; k++) {
                panel[k * LINEAR_ROWS + r] = source[k];
            }
        }
    }
}

/* Rows of an item where there are many: those of BF16 share cache lines, so one thread writes all of a panel's. */
static int64_t item_rows(int64_t rows) { return rows > SKINNY_ROWS ? LINEAR_ROWS : 1; }

/* A run of columns of a row, which a gate makes first. */
static void gate_and_round(const mr_thread *thread, const mr_x *x, int forms, int64_t row, int64_t k, int64_t count, const mr_op *gate) {
    if (gate != NULL) {
        const mr_swiglu_args *a = &gate->args.swiglu;
        const float *from = a->gate_up.data + row * a->gate_up.cols + k;
        if (gate->kind == MR_OP_SWIGLU) {
            mr_gate_row(from, from + x->cols, a->out.data + row * x->cols + k, count, mr_silu);
        } else {
            mr_gate_row(from, from + x->cols, a->out.data + row * x->cols + k, count, mr_gelu_tanh);
        }
    }
    round_run(thread, x, forms, row, k, count, x->data + row * x->cols + k);
}

/* Rounds rows in runs of columns, so that a single row is everybody's work. */
static void round_rows(mr_thread *thread, const mr_x *x, int forms, int64_t rows, const mr_op *gate) {
    enum { COLUMNS = 16 * MR_X_RUN };
    int64_t runs = mr_ceil_div(x->cols, COLUMNS);
    int64_t together = item_rows(rows);
    int64_t items = mr_ceil_div(rows, together) * runs;
    for (int64_t item; (item = mr_claim(thread, 1, items)) < items;) {
        int64_t first = item / runs * together;
        int64_t k = item % runs * COLUMNS;
        for (int64_t row = first; row < mr_min(first + together, rows); row++) {
            gate_and_round(thread, x, forms, row, k, mr_min(COLUMNS, x->cols - k), gate);
        }
    }
}

/* The norm before a linear: out = rms_norm(x). */
typedef struct norm {
    float *x;
    const float *delta; /* to be added to x first, or NULL: there is none, or the linear before has done it */
    const float *weight;
    float *out;
    float eps;
} norm;

static norm norm_of(const mr_op *op) {
    if (op->kind == MR_OP_RMS_NORM) {
        const mr_rms_norm_args *a = &op->args.rms_norm;
        return (norm){a->x.data, NULL, a->weight, a->out.data, a->eps};
    }
    const mr_add_rms_norm_args *a = &op->args.add_rms_norm;
    return (norm){a->residual.data, op->plan & MR_PLAN_ADDED ? NULL : a->delta.data, a->weight, a->out.data, a->eps};
}

static void normalize_and_round(mr_thread *thread, const norm *n, const mr_x *x, int forms, int64_t rows) {
    int64_t cols = x->cols;
    int64_t together = item_rows(rows);
    int64_t items = mr_ceil_div(rows, together);
    for (int64_t item; (item = mr_claim(thread, 1, items)) < items;) {
        for (int64_t row = item * together; row < mr_min((item + 1) * together, rows); row++) {
            if (n->delta != NULL) {
                mr_accumulate_row(n->x + row * cols, n->delta + row * cols, cols);
            }
            mr_normalize_row(n->x + row * cols, n->weight, n->eps, n->out + row * cols, cols);
            round_run(thread, x, forms, row, 0, cols, n->out + row * cols);
        }
    }
}

bool MR_NAME(mr_x_prepare)(mr_thread *thread, const mr_op *op, int64_t rows, mr_x *x) {
    const mr_linear_args *a = &op->args.linear;
    int forms;
    lay_out(a, a->x.rows, thread->shared, x, &forms);
    x->block_rows = even_rows(rows, *thread->kernels->quant_rows);
    x->half_rows = forms & X_HALVES ? even_rows(rows, *thread->kernels->bf16_rows) : 0;
    bool panels = (forms & X_F32) && rows > UNPACKED_ROWS;
    if (!panels) {
        x->panels = NULL;
    }
    forms &= X_CODES | X_HALVES;
    const mr_op *before = op->plan & MR_PLAN_TAKES_BEFORE ? op - 1 : NULL;
    const mr_op *gate = before != NULL && mr_is_gate(before) ? before : NULL;
    norm n = before != NULL && gate == NULL ? norm_of(before) : (norm){0};
    if ((forms != 0 || n.out != NULL) && gate == NULL && n.delta == NULL && !panels && rows <= own_rows(a)) {
        return true;
    }
    if (n.out != NULL) {
        normalize_and_round(thread, &n, x, forms, rows);
        mr_barrier(thread);
    } else if (gate != NULL || forms != 0) {
        round_rows(thread, x, forms, rows, gate);
        mr_barrier(thread);
    }
    if (panels) {
        pack_panels(thread, x, rows);
        mr_barrier(thread);
    }
    return false;
}

void MR_NAME(mr_x_make)(mr_thread *thread, const mr_op *op, int64_t rows, mr_x *x) {
    const mr_linear_args *a = &op->args.linear;
    int64_t cols = a->x.cols;
    int64_t block_rows = x->block_rows;
    int64_t half_rows = x->half_rows;
    int forms;
    lay_out(a, own_rows(a), thread->scratch + own_row_bytes(a), x, &forms);
    x->block_rows = block_rows;
    x->half_rows = half_rows;
    x->panels = NULL;
    if (op->plan & MR_PLAN_TAKES_BEFORE) {
        norm n = norm_of(op - 1);
        float *own = (float *)thread->scratch;
        for (int64_t row = 0; row < rows; row++) {
            mr_normalize_row(n.x + row * cols, n.weight, n.eps, own + row * cols, cols);
        }
        x->data = own;
    }
    for (int64_t row = 0; row < rows; row++) {
        round_run(thread, x, forms, row, 0, cols, x->data + row * cols);
    }
}

void MR_NAME(mr_x_keep)(const mr_op *op, int64_t rows, const mr_x *x) {
    if (op->plan & MR_PLAN_TAKES_BEFORE) {
        memcpy(norm_of(op - 1).out, x->data, (size_t)(rows * x->cols) * sizeof(float));
    }
}

/* What the parts of sampling share: sample.c (the rows), sample_edit.c (bias, mask, penalties), sample_draw.c (filters and the draw). */
#ifndef MILLRACE_SAMPLE_H
#define MILLRACE_SAMPLE_H

#include "kernels.h"

#include <float.h>

#define NONE (-INFINITY)
#define CHUNK 1024
#define GROUP 64   /* ids of which only the largest logit is kept, for top-k */
#define RADIX 2048

typedef struct workspace {
    float *logits;     /* [vocab], this row's logits with bias, mask and penalties */
    float *weights;    /* [vocab], unnormalised probabilities, 1 for the largest */
    int32_t *ids;      /* [vocab], ids that the filters keep, ascending */
    int32_t *counts;   /* [vocab], occurrences in the history; undefined for other ids */
    double *mass;      /* [RADIX] */
    int32_t *members;  /* [RADIX] */
    double *chunks;    /* [vocab / CHUNK], mass of each chunk */
    float *tops;       /* [vocab / GROUP], largest logit of each group */
    float *order;      /* [vocab / GROUP] */
} workspace;

/* A NaN counts as -inf, +inf as the largest float. */
static inline float finite_logit(float logit) {
    return logit != logit ? NONE : logit > FLT_MAX ? FLT_MAX : logit;
}

static inline vf v_finite(vf x) {
    /* A NaN fails every comparison, so the select gives -inf. */
    return v_select_ge(x, v_set(NONE), v_min(x, v_set(FLT_MAX)), v_set(NONE));
}

/* A distribution: weight of an id is e^((logit - maximum) / temperature), 0 if that is below min_p. */
typedef struct distribution {
    const float *logits;
    int64_t vocab;
    float maximum;
    float temperature;
    float min_p;
} distribution;

/* The largest of some logits. */
static inline float chunk_maximum(const float *logits, int64_t count) {
    vf top = v_set(NONE);
    int64_t i = 0;
    for (; i + VW <= count; i += VW) {
        top = v_max(top, v_finite(v_load(logits + i)));
    }
    float maximum = v_hmax(top);
    for (; i < count; i++) {
        float logit = finite_logit(logits[i]);
        maximum = logit > maximum ? logit : maximum;
    }
    return maximum;
}

/* Whether bias, suppression, a mask or penalties change the logits of row r. */
bool MR_NAME(mr_sample_is_edited)(const mr_batch *b, int64_t r);

/* Changes a copy of row r's logits; `counts` as in workspace. */
void MR_NAME(mr_sample_edit)(const mr_batch *b, int64_t r, float *logits, int64_t vocab, int32_t *counts);

/* A token of row r by its filters and its seed; `largest` is the most likely one. */
int32_t MR_NAME(mr_sample_draw)(const mr_batch *b, int64_t r, const workspace *w, const distribution *d, int32_t largest);

#endif

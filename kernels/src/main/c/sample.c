/*
 * Sampling, one row per thread, in the order that io.millrace.kernels.SamplingRows tells. The raw logits stay as they are; penalties work
 * on a copy. No sort, and no pass over the vocabulary that is not in vectors: see sample_draw.c.
 */
#include "sample.h"

int64_t MR_NAME(mr_sample_scratch_bytes)(const mr_sample_args *a) {
    int64_t vocab = mr_round_up(a->logits.cols, 16);
    return vocab * 16 + RADIX * 12 + (vocab / CHUNK + 1) * 8 + (vocab / GROUP + 1) * 8 + 64;
}

static workspace workspace_of(mr_thread *thread, int64_t cols) {
    int64_t vocab = mr_round_up(cols, 16);
    workspace w;
    w.mass = (double *)thread->scratch;
    w.chunks = w.mass + RADIX;
    w.tops = (float *)(w.chunks + vocab / CHUNK + 1);
    w.order = w.tops + vocab / GROUP + 1;
    w.members = (int32_t *)(w.order + vocab / GROUP + 1);
    w.logits = (float *)(w.members + RADIX);
    w.weights = w.logits + vocab;
    w.ids = (int32_t *)(w.weights + vocab);
    w.counts = w.ids + vocab;
    return w;
}

typedef struct statistics {
    float maximum;
    int32_t largest; /* lowest id with the maximum; 0 if all are -inf */
    double log_sum;  /* log of the sum of e^(logit - maximum): kept apart from the maximum, which may be huge */
} statistics;

/* Sum of e^(logit - base); the sums of a chunk are in float, those of chunks in double. */
static double chunk_sum(const float *logits, int64_t count, float base) {
    vf total = v_zero();
    vf b = v_set(base);
    int64_t i = 0;
    for (; i + VW <= count; i += VW) {
        total = v_add(total, v_exp(v_sub(v_finite(v_load(logits + i)), b)));
    }
    double sum = v_sum(total);
    for (; i < count; i++) {
        sum += s_exp(finite_logit(logits[i]) - base);
    }
    return sum;
}

/* One pass over memory: each chunk is read for its maximum and, still in L1, for its sum. */
static statistics measure(const float *logits, int64_t vocab) {
    statistics s = {NONE, 0, 0.0};
    double sum = 0.0;
    for (int64_t first = 0; first < vocab; first += CHUNK) {
        int64_t count = mr_min(CHUNK, vocab - first);
        float maximum = chunk_maximum(logits + first, count);
        if (maximum > s.maximum) {
            sum *= s.maximum == NONE ? 0.0 : exp((double)s.maximum - maximum);
            s.maximum = maximum;
            int64_t i = first;
            while (finite_logit(logits[i]) != maximum) {
                i++;
            }
            s.largest = (int32_t)i;
        }
        if (maximum != NONE) {
            sum += chunk_sum(logits + first, count, s.maximum);
        }
    }
    if (s.maximum != NONE) {
        s.log_sum = log(sum);
    }
    return s;
}

static float logprob_of(float logit, const statistics *s) {
    float value = finite_logit(logit);
    return value == NONE ? NONE : (float)((double)value - s->maximum - s->log_sum);
}

/* The `top` most likely ids, ties to the lower id, by insertion: `top` is at most some tens and few ids ever enter. */
static void report_top(const float *logits, int64_t vocab, const statistics *s, int64_t top, int32_t *ids, float *logprobs) {
    int64_t held = 0;
    for (int64_t first = 0; first < vocab; first += CHUNK) {
        int64_t count = mr_min(CHUNK, vocab - first);
        if (held == top && !(chunk_maximum(logits + first, count) > finite_logit(logits[ids[held - 1]]))) {
            continue;
        }
        for (int64_t id = first; id < first + count; id++) {
            float logit = finite_logit(logits[id]);
            if (held == top && !(logit > finite_logit(logits[ids[held - 1]]))) {
                continue;
            }
            int64_t i = held < top ? held++ : held - 1;
            for (; i > 0 && logit > finite_logit(logits[ids[i - 1]]); i--) {
                ids[i] = ids[i - 1];
            }
            ids[i] = (int32_t)id;
        }
    }
    for (int64_t i = 0; i < held; i++) {
        logprobs[i] = logprob_of(logits[ids[i]], s);
    }
}

static int32_t rank_of(const float *logits, int64_t vocab, float logit) {
    vf counts = v_set(0.0f); /* each below 2^24 */
    vf limit = v_set(logit);
    int32_t rank = 1;
    int64_t id = 0;
    for (; id + VW <= vocab; id += VW) {
        counts = v_add(counts, v_select_ge(limit, v_finite(v_load(logits + id)), v_zero(), v_set(1.0f)));
    }
    float lanes[VW];
    v_store(lanes, counts);
    for (int i = 0; i < VW; i++) {
        rank += (int32_t)lanes[i];
    }
    for (; id < vocab; id++) {
        rank += finite_logit(logits[id]) > logit;
    }
    return rank;
}

/* The token of row r; `raw` are the statistics of its unmodified logits. */
static int32_t choose(mr_thread *thread, const float *logits, int64_t vocab, int64_t r, const statistics *raw) {
    const mr_batch *b = thread->batch;
    bool changed = MR_NAME(mr_sample_is_edited)(b, r);
    bool greedy = b->temperature[r] == 0.0f;
    if (!changed && (greedy || raw->maximum == NONE)) {
        return raw->largest;
    }
    workspace w = workspace_of(thread, vocab);
    distribution d = {logits, vocab, raw->maximum, b->temperature[r], b->min_p[r]};
    int32_t largest = raw->largest;
    if (changed) {
        for (int64_t id = 0; id < vocab; id++) {
            w.logits[id] = finite_logit(logits[id]);
        }
        MR_NAME(mr_sample_edit)(b, r, w.logits, vocab, w.counts);
        d.logits = w.logits;
        d.maximum = chunk_maximum(w.logits, vocab);
        largest = 0;
        while (d.maximum != NONE && finite_logit(w.logits[largest]) != d.maximum) {
            largest++;
        }
    }
    return greedy || d.maximum == NONE ? largest : MR_NAME(mr_sample_draw)(b, r, &w, &d, largest);
}

void MR_NAME(mr_sample)(mr_thread *thread, const mr_sample_args *a) {
    const mr_batch *b = thread->batch;
    int64_t rows = mr_rows(b, &a->logits);
    int64_t vocab = a->logits.cols;
    for (int64_t r; (r = mr_claim(thread, 1, rows)) < rows;) {
        const float *logits = a->logits.data + r * vocab;
        statistics s = measure(logits, vocab);
        int64_t top = mr_min(mr_min(b->num_top[r], b->max_top), vocab);
        if (top > 0) {
            report_top(logits, vocab, &s, top, b->top_ids + r * b->max_top, b->top_logprobs + r * b->max_top);
        }
        int32_t token = b->target[r];
        if (token >= vocab) {
            mr_fail(thread, MR_E_TOKEN_ID, "target %lld of logit row %lld is outside the vocabulary of %lld", token, r, vocab);
            continue;
        }
        if (token < 0) {
            token = choose(thread, logits, vocab, r, &s);
        }
        b->token[r] = token;
        b->logprob[r] = logprob_of(logits[token], &s);
        b->rank[r] = token == s.largest ? 1 : rank_of(logits, vocab, finite_logit(logits[token]));
    }
}

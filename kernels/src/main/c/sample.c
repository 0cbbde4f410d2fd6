/*
 * Sampling, one row per thread, in the order that io.millrace.kernels.SamplingRows tells. The raw logits stay as they are; filters and
 * penalties work on a copy. No sort: top-k and top-p are a radix selection on the ordered bits of the logits.
 */
#include "kernels.h"

#include <float.h>

#define NONE (-INFINITY)
#define CHUNK 1024
#define RADIX 2048

typedef struct workspace {
    float *logits;     /* [vocab], this row's logits with bias, mask and penalties */
    float *weights;    /* [vocab], unnormalised probabilities, 1 for the largest */
    int32_t *ids;      /* [vocab], ids that the filters keep, ascending */
    int32_t *counts;   /* [vocab], occurrences in the history; undefined for other ids */
    double *mass;      /* [RADIX] */
    int32_t *members;  /* [RADIX] */
} workspace;

int64_t MR_NAME(mr_sample_scratch_bytes)(const mr_sample_args *a) {
    int64_t vocab = mr_round_up(a->logits.cols, 16);
    return vocab * 16 + RADIX * 12;
}

static workspace workspace_of(mr_thread *thread, int64_t cols) {
    int64_t vocab = mr_round_up(cols, 16);
    workspace w;
    w.mass = (double *)thread->scratch;
    w.members = (int32_t *)(w.mass + RADIX);
    w.logits = (float *)(w.members + RADIX);
    w.weights = w.logits + vocab;
    w.ids = (int32_t *)(w.weights + vocab);
    w.counts = w.ids + vocab;
    return w;
}

/* A NaN counts as -inf, +inf as the largest float. */
static inline float finite_logit(float logit) {
    return logit != logit ? NONE : logit > FLT_MAX ? FLT_MAX : logit;
}

static inline vf v_finite(vf x) {
    /* A NaN fails every comparison, so the select gives -inf. */
    return v_select_ge(x, v_set(NONE), v_min(x, v_set(FLT_MAX)), v_set(NONE));
}

/* Bits whose unsigned order is the order of the floats; 0 and -0 are equal. */
static inline uint32_t order_of(float logit) {
    uint32_t bits = s_bits(logit + 0.0f);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

typedef struct statistics {
    float maximum;
    int32_t largest; /* lowest id with the maximum; 0 if all are -inf */
    double log_sum;  /* log of the sum of e^(logit - maximum): kept apart from the maximum, which may be huge */
} statistics;

static float chunk_maximum(const float *logits, int64_t count) {
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
    int32_t rank = 1;
    for (int64_t id = 0; id < vocab; id++) {
        rank += finite_logit(logits[id]) > logit;
    }
    return rank;
}

static inline const void *address(int64_t value) { return (const void *)(uintptr_t)value; }

static void apply_bias_mask_suppression(const mr_batch *b, int64_t r, float *logits, int64_t vocab) {
    const int32_t *ids = address(b->bias_ids[r]);
    const float *values = address(b->bias_values[r]);
    for (int32_t i = 0; i < b->bias_count[r]; i++) {
        if (ids[i] >= 0 && ids[i] < vocab) {
            logits[ids[i]] += values[i];
        }
    }
    const uint32_t *mask = address(b->allowed_mask[r]);
    if (mask != NULL) {
        for (int64_t id = 0; id < vocab; id++) {
            logits[id] = mask[id / 32] >> id % 32 & 1u ? logits[id] : NONE;
        }
    }
    const int32_t *suppressed = address(b->suppress_ids[r]);
    for (int32_t i = 0; i < b->suppress_count[r]; i++) {
        if (suppressed[i] >= 0 && suppressed[i] < vocab) {
            logits[suppressed[i]] = NONE;
        }
    }
}

static bool has_penalties(const mr_batch *b, int64_t r) {
    return b->history[r] != 0 && (b->repetition_penalty[r] != 1.0f || b->frequency_penalty[r] != 0.0f || b->presence_penalty[r] != 0.0f);
}

/*
 * counts[id] is 1 + the occurrences in the output, for every id of the history; each id is settled, and cleared, when met again. The
 * memory is shared with other operations (attention writes over it in every step), so the entries are cleared first; clearing those of
 * the history only keeps the cost off the vocabulary.
 */
static void apply_penalties(const mr_batch *b, int64_t r, float *logits, int64_t vocab, int32_t *counts) {
    const int32_t *history = address(b->history[r]);
    float repetition = b->repetition_penalty[r];
    int32_t length = b->history_len[r];
    if (b->history_source != NULL && b->history_source[r] >= 0) {
        /* The caller could not know it yet. One thread has the row, and the host leaves this entry alone. */
        ((int32_t *)(uintptr_t)b->history[r])[length - 1] = b->previous_token[b->history_source[r]];
    }
    for (int32_t i = 0; i < length; i++) {
        int32_t id = history[i];
        if (id >= 0 && id < vocab) {
            counts[id] = 0;
        }
    }
    for (int32_t i = 0; i < length; i++) {
        int32_t id = history[i];
        if (id >= 0 && id < vocab) {
            counts[id] += (counts[id] == 0) + (i >= b->prompt_len[r]);
        }
    }
    for (int32_t i = 0; i < length; i++) {
        int32_t id = history[i];
        if (id < 0 || id >= vocab || counts[id] == 0) {
            continue;
        }
        int32_t count = counts[id] - 1;
        counts[id] = 0;
        logits[id] = logits[id] > 0.0f ? logits[id] / repetition : logits[id] * repetition;
        if (count > 0) {
            float penalty = b->frequency_penalty[r] * (float)count;
            penalty += b->presence_penalty[r];
            logits[id] -= penalty;
        }
    }
}

/*
 * Keeps the shortest prefix of the ids in descending order of logit (ties: lower id first), at least one, whose weights (1 each, or the
 * probabilities if `by_mass`) add up to `target`. The order is never made: three rounds of counting over 11, 11 and 10 bits of the
 * logits' order find the logit at which the prefix ends.
 */
static int64_t keep_prefix(const workspace *w, int64_t count, double target, bool by_mass) {
    static const int shifts[3] = {21, 10, 0};
    uint32_t prefix = 0;
    uint32_t prefix_mask = 0;
    double above = 0.0;
    for (int round = 0; round < 3; round++) {
        int shift = shifts[round];
        uint32_t digit_mask = round == 2 ? 1023u : 2047u;
        memset(w->mass, 0, RADIX * sizeof *w->mass);
        memset(w->members, 0, RADIX * sizeof *w->members);
        for (int64_t i = 0; i < count; i++) {
            int32_t id = w->ids[i];
            uint32_t key = order_of(w->logits[id]);
            if ((key & prefix_mask) == prefix) {
                uint32_t digit = key >> shift & digit_mask;
                w->mass[digit] += by_mass ? w->weights[id] : 1.0;
                w->members[digit]++;
            }
        }
        int32_t chosen = -1;
        double chosen_above = above;
        for (int32_t digit = (int32_t)digit_mask; digit >= 0; digit--) {
            if (w->members[digit] == 0) {
                continue;
            }
            chosen = digit; /* the last one that has members, should rounding keep the sum below the target */
            chosen_above = above;
            if (above + w->mass[digit] >= target) {
                break;
            }
            above += w->mass[digit];
        }
        above = chosen_above;
        prefix |= (uint32_t)chosen << shift;
        prefix_mask |= digit_mask << shift;
    }
    int64_t kept = 0;
    bool first = above == 0.0;
    for (int64_t i = 0; i < count; i++) {
        int32_t id = w->ids[i];
        uint32_t key = order_of(w->logits[id]);
        if (key > prefix || (key == prefix && (first || above < target))) {
            if (key == prefix) {
                above += by_mass ? w->weights[id] : 1.0;
                first = false;
            }
            w->ids[kept++] = id;
        }
    }
    return kept;
}

static uint64_t mix64(uint64_t z) {
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* Uniform in [0, 1) with 53 bits, from seed and position alone. */
static double uniform(int64_t seed, int32_t draw_index) {
    uint64_t step = (uint64_t)((int64_t)draw_index + 1) * 0x9E3779B97F4A7C15u;
    return (double)(mix64(mix64((uint64_t)seed) + step) >> 11) * 0x1p-53;
}

static int32_t draw(const mr_batch *b, int64_t r, const workspace *w, int64_t vocab, float maximum) {
    /* The difference to the largest is divided, not multiplied with an inverse that could overflow. */
    vf temperature = v_set(b->temperature[r]);
    vf top = v_set(maximum);
    for (int64_t id = 0; id < vocab; id += VW) { /* both arrays have room for whole vectors */
        v_store(w->weights + id, v_exp(v_div(v_sub(v_load(w->logits + id), top), temperature)));
    }
    float min_p = b->min_p[r];
    int32_t top_k = b->top_k[r];
    float top_p = b->top_p[r];
    int64_t kept = 0;
    for (int32_t id = 0; id < vocab; id++) {
        w->ids[kept] = id;
        kept += (w->weights[id] > 0.0f && w->weights[id] >= min_p) || (w->logits[id] == maximum && kept == 0);
    }
    if (top_k > 0 && top_k < kept) {
        kept = keep_prefix(w, kept, top_k, false);
    }
    double total = 0.0;
    for (int64_t i = 0; i < kept; i++) {
        total += w->weights[w->ids[i]];
    }
    if (top_p < 1.0f) {
        kept = keep_prefix(w, kept, top_p * total, true);
        total = 0.0;
        for (int64_t i = 0; i < kept; i++) {
            total += w->weights[w->ids[i]];
        }
    }
    double threshold = uniform(b->seed[r], b->draw_index[r]) * total;
    double sum = 0.0;
    for (int64_t i = 0; i < kept; i++) {
        sum += w->weights[w->ids[i]];
        if (sum > threshold) {
            return w->ids[i];
        }
    }
    return w->ids[kept - 1];
}

/* The token of row r; `raw` are the statistics of its unmodified logits. */
static int32_t choose(mr_thread *thread, const float *logits, int64_t vocab, int64_t r, const statistics *raw) {
    const mr_batch *b = thread->batch;
    bool changed = b->bias_count[r] > 0 || b->suppress_count[r] > 0 || b->allowed_mask[r] != 0 || has_penalties(b, r);
    bool greedy = b->temperature[r] == 0.0f;
    if (!changed && (greedy || raw->maximum == NONE)) {
        return raw->largest;
    }
    workspace w = workspace_of(thread, vocab);
    for (int64_t id = 0; id < vocab; id++) {
        w.logits[id] = finite_logit(logits[id]);
    }
    for (int64_t id = vocab; id < mr_round_up(vocab, 16); id++) {
        w.logits[id] = NONE;
    }
    float maximum = raw->maximum;
    int32_t largest = raw->largest;
    if (changed) {
        apply_bias_mask_suppression(b, r, w.logits, vocab);
        if (has_penalties(b, r)) {
            apply_penalties(b, r, w.logits, vocab, w.counts);
        }
        maximum = NONE;
        largest = 0;
        for (int64_t id = 0; id < vocab; id++) {
            if (w.logits[id] > maximum) {
                maximum = w.logits[id];
                largest = (int32_t)id;
            }
        }
    }
    return greedy || maximum == NONE ? largest : draw(b, r, &w, vocab, maximum);
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

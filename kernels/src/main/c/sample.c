/*
 * Sampling, one row per thread, in the order that io.millrace.kernels.SamplingRows tells. The raw logits stay as they are; penalties work
 * on a copy. No sort, and no pass over the vocabulary that is not in vectors: one pass sums the weights by chunks, which is all that a draw
 * without filters needs. For top-k and top-p it also finds a logit above which enough ids lie; those few, no longer the vocabulary, go
 * through a radix selection on the ordered bits of their logits.
 */
#include "kernels.h"

#include <float.h>

#define NONE (-INFINITY)
#define CHUNK 1024
#define GROUP 64   /* ids of which only the largest logit is kept, for top-k */
#define DEPTHS 8   /* logits, relative to the largest, above which the mass is known, for top-p */
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

/* A distribution: weight of an id is e^((logit - maximum) / temperature), 0 if that is below min_p. */
typedef struct distribution {
    const float *logits;
    int64_t vocab;
    float maximum;
    float temperature;
    float min_p;
} distribution;

/* The weights of ids [first, first + count), count at most CHUNK and rounded up to whole vectors in `out`. */
static void weights_of(const distribution *d, int64_t first, int64_t count, float *out) {
    vf top = v_set(d->maximum);
    vf temperature = v_set(d->temperature);
    vf least = v_set(d->min_p);
    for (int64_t i = 0; i < count; i += VW) {
        float tail[VW];
        const float *from = d->logits + first + i;
        if (count - i < VW) {
            for (int64_t j = 0; j < VW; j++) {
                tail[j] = i + j < count ? from[j] : NONE;
            }
            from = tail;
        }
        /* The difference to the largest is divided, not multiplied with an inverse that could overflow. */
        vf weight = v_exp(v_div(v_sub(v_finite(v_load(from)), top), temperature));
        v_store(out + i, v_select_ge(weight, least, weight, v_zero()));
    }
}

/* Depths below the largest logit, in units of the temperature. Those of a trained model's nuclei are among the first. */
static const float depths[DEPTHS] = {0.7f, 1.5f, 2.5f, 3.5f, 5.0f, 7.0f, 10.0f, 15.0f};

/* Mass of each chunk and of all; if `above` is there, also the mass of the weights that are at least e^-depths[i]. */
static double weigh_all(const distribution *d, double *chunks, double *above) {
    double total = 0.0;
    vf limits[DEPTHS];
    for (int i = 0; i < DEPTHS; i++) {
        limits[i] = v_set(s_exp(-depths[i]));
    }
    for (int64_t first = 0; first < d->vocab; first += CHUNK) {
        float weights[CHUNK];
        int64_t count = mr_min(CHUNK, d->vocab - first);
        weights_of(d, first, count, weights);
        vf sum = v_zero();
        vf sums[DEPTHS];
        for (int i = 0; i < DEPTHS; i++) {
            sums[i] = v_zero();
        }
        for (int64_t i = 0; i < count; i += VW) {
            vf weight = v_load(weights + i);
            sum = v_add(sum, weight);
            for (int k = 0; above != NULL && k < DEPTHS; k++) {
                sums[k] = v_add(sums[k], v_select_ge(weight, limits[k], weight, v_zero()));
            }
        }
        for (int k = 0; above != NULL && k < DEPTHS; k++) {
            above[k] += v_sum(sums[k]);
        }
        chunks[first / CHUNK] = v_sum(sum);
        total += chunks[first / CHUNK];
    }
    return total;
}

/* The count-th largest of `size` values, which are reordered; quickselect around the middle of three. */
static float nth_largest(float *values, int64_t size, int64_t count) {
    int64_t low = 0;
    int64_t high = size - 1;
    int64_t wanted = count - 1;
    while (low < high) {
        float a = values[low];
        float b = values[low + (high - low) / 2];
        float c = values[high];
        float pivot = a > b ? (b > c ? b : a > c ? c : a) : (a > c ? a : b > c ? c : b);
        int64_t i = low;
        int64_t j = high;
        while (i <= j) {
            while (values[i] > pivot) {
                i++;
            }
            while (values[j] < pivot) {
                j--;
            }
            if (i <= j) {
                float swapped = values[i];
                values[i++] = values[j];
                values[j--] = swapped;
            }
        }
        if (wanted <= j) {
            high = j;
        } else if (wanted >= i) {
            low = i;
        } else {
            break;
        }
    }
    return values[wanted];
}

/*
 * A logit that at least `count` ids reach: the count-th largest among the largest of groups. Equal logits all reach it, so ties are settled
 * later. NONE if there are fewer groups.
 */
static float reached_by(const distribution *d, const workspace *w, int64_t count) {
    int64_t groups = mr_ceil_div(d->vocab, GROUP);
    if (count > groups) {
        return NONE;
    }
    for (int64_t g = 0; g < groups; g++) {
        w->tops[g] = chunk_maximum(d->logits + g * GROUP, mr_min(GROUP, d->vocab - g * GROUP));
    }
    memcpy(w->order, w->tops, (size_t)groups * sizeof(float));
    return nth_largest(w->order, groups, count);
}

/* Lists, ascending, the ids with a weight above 0 whose logits reach `limit`, with their logits and weights. */
static int64_t list_ids(const distribution *d, const workspace *w, float limit) {
    int64_t kept = 0;
    for (int64_t first = 0; first < d->vocab; first += GROUP) {
        int64_t count = mr_min(GROUP, d->vocab - first);
        if (chunk_maximum(d->logits + first, count) < limit) {
            continue;
        }
        weights_of(d, first, count, w->weights + first); /* there is room for whole vectors */
        for (int64_t i = 0; i < count; i++) {
            float logit = finite_logit(d->logits[first + i]);
            w->logits[first + i] = logit;
            w->ids[kept] = (int32_t)(first + i);
            kept += (logit >= limit) & (w->weights[first + i] > 0.0f); /* no branch: it would be guessed wrong */
        }
    }
    return kept;
}

/* An id by the whole distribution: the chunk by the sums of chunks, then the id. */
static int32_t draw_from_all(const distribution *d, const workspace *w, double threshold, int32_t largest) {
    double sum = 0.0;
    int32_t last = largest;
    for (int64_t first = 0; first < d->vocab; first += CHUNK) {
        double after = sum + w->chunks[first / CHUNK];
        if (after > threshold) {
            float weights[CHUNK];
            int64_t count = mr_min(CHUNK, d->vocab - first);
            weights_of(d, first, count, weights);
            for (int64_t i = 0; i < count; i++) {
                sum += weights[i];
                last = weights[i] > 0.0f ? (int32_t)(first + i) : last;
                if (sum > threshold) {
                    return last;
                }
            }
            return last; /* its sum was rounded upwards */
        }
        sum = after;
    }
    return largest;
}

static int32_t draw(const mr_batch *b, int64_t r, const workspace *w, const distribution *d, int32_t largest) {
    int32_t top_k = b->top_k[r];
    float top_p = b->top_p[r];
    double u = uniform(b->seed[r], b->draw_index[r]);
    bool few = top_k > 0 && top_k < d->vocab;
    if (!few && top_p >= 1.0f) {
        return draw_from_all(d, w, u * weigh_all(d, w->chunks, NULL), largest);
    }
    double total = 0.0;
    float limit = NONE;
    if (few) {
        limit = reached_by(d, w, top_k);
    } else {
        double above[DEPTHS] = {0};
        total = weigh_all(d, w->chunks, above);
        for (int k = DEPTHS - 1; k >= 0 && above[k] * (1.0 - 1e-6) >= top_p * total; k--) {
            /* A little deeper than the depth itself: rounding must not leave out what was counted. */
            limit = d->maximum - depths[k] * d->temperature * (1.0f + 1e-5f) - fabsf(d->maximum) * 1e-6f;
        }
    }
    int64_t kept = list_ids(d, w, limit);
    if (kept == 0) {
        return largest; /* min-p beyond 1 */
    }
    if (few) {
        kept = top_k < kept ? keep_prefix(w, kept, top_k, false) : kept;
        for (int64_t i = 0; i < kept; i++) {
            total += w->weights[w->ids[i]];
        }
    }
    if (top_p < 1.0f) {
        kept = keep_prefix(w, kept, top_p * total, true);
        total = 0.0;
        for (int64_t i = 0; i < kept; i++) {
            total += w->weights[w->ids[i]];
        }
    }
    double threshold = u * total;
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
    distribution d = {logits, vocab, raw->maximum, b->temperature[r], b->min_p[r]};
    int32_t largest = raw->largest;
    if (changed) {
        for (int64_t id = 0; id < vocab; id++) {
            w.logits[id] = finite_logit(logits[id]);
        }
        apply_bias_mask_suppression(b, r, w.logits, vocab);
        if (has_penalties(b, r)) {
            apply_penalties(b, r, w.logits, vocab, w.counts);
        }
        d.logits = w.logits;
        d.maximum = chunk_maximum(w.logits, vocab);
        largest = 0;
        while (d.maximum != NONE && finite_logit(w.logits[largest]) != d.maximum) {
            largest++;
        }
    }
    return greedy || d.maximum == NONE ? largest : draw(b, r, &w, &d, largest);
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

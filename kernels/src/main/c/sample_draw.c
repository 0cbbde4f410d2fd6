/*
 * The draw of a token. One pass sums the weights by chunks, which is all that a draw without filters needs. For top-k and top-p it also finds
 * a logit above which enough ids lie; those few, no longer the vocabulary, go through a radix selection on the ordered bits of their logits.
 */
#include "sample.h"

#define DEPTHS 8 /* logits, relative to the largest, above which the mass is known, for top-p */

/* Bits whose unsigned order is the order of the floats; 0 and -0 are equal. */
static inline uint32_t order_of(float logit) {
    uint32_t bits = s_bits(logit + 0.0f);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
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

int32_t MR_NAME(mr_sample_draw)(const mr_batch *b, int64_t r, const workspace *w, const distribution *d, int32_t largest) {
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

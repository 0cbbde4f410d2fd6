/* What a request changes in its logits before a token is chosen: bias, mask, suppressed ids, penalties. */
#include "sample.h"

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

bool MR_NAME(mr_sample_is_edited)(const mr_batch *b, int64_t r) {
    return b->bias_count[r] > 0 || b->suppress_count[r] > 0 || b->allowed_mask[r] != 0 || has_penalties(b, r);
}

void MR_NAME(mr_sample_edit)(const mr_batch *b, int64_t r, float *logits, int64_t vocab, int32_t *counts) {
    apply_bias_mask_suppression(b, r, logits, vocab);
    if (has_penalties(b, r)) {
        apply_penalties(b, r, logits, vocab, counts);
    }
}

// Sampling, one block per row, in the order and with the random numbers of io.millrace.kernels.SamplingRows: what a row draws depends on its
// logits, its parameters, its seed and its position alone.
//
// No sort. The edge of top-k and top-p is found by counting: a histogram over the distance to the largest logit, in which 2048 bins are the
// whole range that a weight can say, then three of the ordered bits of the logits that lie in the bin of the edge. Masses are summed as
// integers (units of 2^-44 of the largest weight), so the order in which atomics come does not show. The draw goes by sums of segments in
// ascending order of ids. Sums across threads are in double: few, and the definition has them so.
#include "common.h"

constexpr int sample_threads = 512;
constexpr int sample_shared_bytes = 2048 * 4 + 2048 * 8 + 1024 * 8 + 512;
static_assert(sample_shared_bytes <= 48 << 10, "more would have to be asked for before the launch");

namespace {

constexpr int sample_warps = sample_threads / 32;
constexpr int bins = 2048;
constexpr int max_segments = 1024;
constexpr float bins_per_unit = 19.6f;  // weights below e^-104 are zero
constexpr float mass_unit = 17592186044416.0f;
constexpr float largest_float = 3.402823466e38f;

using u64 = unsigned long long;

struct SampleMemory {
    smem<uint32_t> counts;  // [bins]
    smem<u64> mass;         // [bins]
    smem<double> segments;  // [max_segments]: sums, then sums up to and with each
    smem<u64> scratch;      // [64]
};

// A NaN counts as -inf, +inf as the largest float.
TILE float finite_logit(float x) { return x != x ? minus_infinity : fminf(x, largest_float); }

// Bits whose unsigned order is that of the floats; 0 and -0 are equal.
TILE uint32_t order_of(float logit) {
    uint32_t bits = float_bits(logit + 0.0f);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

struct Best {
    float logit;
    int id;
};

TILE bool better(const Best &a, const Best &b) { return a.logit > b.logit || (a.logit == b.logit && a.id < b.id); }

// The best of all threads, for every thread.
TILE Best block_best(Best mine, smem<u64> scratch) {
    for (int step = 16; step > 0; step /= 2) {
        Best other{shuffle_xor(mine.logit, step), shuffle_xor(mine.id, step)};
        mine = better(other, mine) ? other : mine;
    }
    sync_block();
    if (lane_id() == 0) {
        scratch[threadIdx.x / 32] = static_cast<u64>(float_bits(mine.logit)) << 32 | static_cast<uint32_t>(mine.id);
    }
    sync_block();
    Best best{minus_infinity, 0x7fffffff};
    for (int w = 0; w < sample_warps; w++) {
        u64 packed = scratch[w];
        Best other{bits_float(static_cast<uint32_t>(packed >> 32)), static_cast<int>(packed & 0xffffffffu)};
        best = better(other, best) ? other : best;
    }
    return best;
}

// Exclusive sum over the threads in their order, and that of all.
template <class T>
TILE T block_scan(T x, T *total, smem<T> scratch) {
    T sum = x;
    for (int step = 1; step < 32; step *= 2) {
        T other = shuffle_up(sum, step);
        sum = lane_id() >= step ? sum + other : sum;
    }
    int warp = static_cast<int>(threadIdx.x / 32);
    sync_block();
    if (lane_id() == 31) {
        scratch[warp] = sum;
    }
    sync_block();
    T before = 0;
    T all = 0;
    for (int w = 0; w < sample_warps; w++) {
        T of_warp = scratch[w];
        before = w < warp ? before + of_warp : before;
        all += of_warp;
    }
    *total = all;
    return before + sum - x;
}

struct Distribution {
    const float *logits;
    int vocab;
    float maximum;
    float temperature;
    float min_p;
    // Kept are logits above this one in order, and those equal to it up to this id.
    uint32_t edge;
    int last_tie;
};

TILE float weight_of(const Distribution &d, int id, float logit) {
    uint32_t key = order_of(logit);
    if (key < d.edge || (key == d.edge && id > d.last_tie)) {
        return 0;
    }
    float w = expf((logit - d.maximum) / d.temperature);
    return w >= d.min_p ? w : 0;
}

// Sums of weight(id) by segments of ids; leaves in m.segments the sum up to and with each, returns that of all.
template <class W>
TILE double sum_segments(int vocab, const SampleMemory &m, W weight) {
    int length = ((vocab + max_segments - 1) / max_segments + 31) / 32 * 32;
    int lane = lane_id();
    int used = (vocab + length - 1) / length;
    sync_block();
    for (int s = used + static_cast<int>(threadIdx.x); s < max_segments; s += sample_threads) {
        m.segments[s] = 0;
    }
    for (int s = static_cast<int>(threadIdx.x / 32); s < used; s += sample_warps) {
        float sum = 0;
        for (int id = s * length + lane; id < min(vocab, (s + 1) * length); id += 32) {
            sum += weight(id);
        }
        sum = warp_sum(sum);
        if (lane == 0) {
            m.segments[s] = static_cast<double>(sum);
        }
    }
    sync_block();
    int first = static_cast<int>(threadIdx.x) * 2;
    double a = m.segments[first];
    double b = m.segments[first + 1];
    double total;
    double before = block_scan<double>(a + b, &total, shared_as<double>(m.scratch));
    m.segments[first] = before + a;
    m.segments[first + 1] = before + a + b;
    sync_block();
    return total;
}

// The first id at which the running sum of weight(id), ascending, exceeds the threshold; the last of a weight if rounding keeps it from that.
template <class W>
TILE int find_id(int vocab, const SampleMemory &m, double threshold, W weight) {
    int length = ((vocab + max_segments - 1) / max_segments + 31) / 32 * 32;
    int first = static_cast<int>(threadIdx.x) * 2;
    double total = m.segments[max_segments - 1];
    // The segment: the first that goes beyond the threshold, or that reaches the sum of all.
    int candidate = max_segments - 1;
    for (int s = first + 1; s >= first; s--) {
        double upto = m.segments[s];
        candidate = upto > threshold || upto == total ? s : candidate;
    }
    int segment = block_best({0, candidate}, m.scratch).id;
    sync_block();
    if (threadIdx.x < 32) {
        double running = segment == 0 ? 0 : static_cast<double>(m.segments[segment - 1]);
        int found = -1;
        int last = min(vocab, (segment + 1) * length) - 1;
        for (int base = segment * length; base < min(vocab, (segment + 1) * length) && found < 0; base += 32) {
            int id = base + lane_id();
            float w = id < min(vocab, (segment + 1) * length) ? weight(id) : 0;
            double sum = static_cast<double>(w);
            for (int step = 1; step < 32; step *= 2) {
                double other = shuffle_up(sum, step);
                sum = lane_id() >= step ? sum + other : sum;
            }
            uint32_t some = vote(w > 0);
            uint32_t beyond = vote(w > 0 && running + sum > threshold);
            found = beyond != 0 ? base + lowest_bit(beyond) : -1;
            last = some != 0 ? base + highest_bit(some) : last;
            running += shuffle(sum, 31);
        }
        if (lane_id() == 0) {
            m.scratch[0] = static_cast<u64>(found >= 0 ? found : last);
        }
    }
    sync_block();
    return static_cast<int>(static_cast<u64>(m.scratch[0]));
}

struct Pick {
    int bin;
    u64 above;   // before the bin
    uint32_t members;
    u64 value;   // of the bin
};

// A histogram of what bin_of(id, logit) >= 0 lets in, by value (masses or ones), and the first bin with which the target is reached.
template <class B>
TILE Pick pick_bin(const Distribution &d, const SampleMemory &m, u64 above, u64 target, bool by_mass, B bin_of) {
    sync_block();
    for (int i = static_cast<int>(threadIdx.x); i < bins; i += sample_threads) {
        m.counts[i] = 0;
        m.mass[i] = 0;
    }
    sync_block();
    for (int id = static_cast<int>(threadIdx.x); id < d.vocab; id += sample_threads) {
        float logit = finite_logit(d.logits[id]);
        int bin = bin_of(logit);
        float w = bin >= 0 ? weight_of(d, id, logit) : 0;
        if (w > 0) {
            atomic_add(m.counts + bin, uint32_t{1});
            if (by_mass) {
                atomic_add(m.mass + bin, static_cast<u64>(w * mass_unit));
            }
        }
    }
    sync_block();
    constexpr int own = bins / sample_threads;
    int first = static_cast<int>(threadIdx.x) * own;
    u64 mine = 0;
    for (int i = first; i < first + own; i++) {
        mine += by_mass ? static_cast<u64>(m.mass[i]) : static_cast<u64>(static_cast<uint32_t>(m.counts[i]));
    }
    u64 total;
    u64 before = above + block_scan<u64>(mine, &total, m.scratch);
    // One thread has the bin: the target is at most what all bins hold.
    bool here = before < target && before + mine >= target;
    int candidate = -1;
    for (int i = first; i < first + own && here; i++) {
        u64 value = by_mass ? static_cast<u64>(m.mass[i]) : static_cast<u64>(static_cast<uint32_t>(m.counts[i]));
        if (candidate < 0 && before + value >= target) {
            candidate = i;
        } else if (candidate < 0) {
            before += value;
        }
    }
    sync_block();
    if (candidate >= 0) {
        m.scratch[32] = static_cast<u64>(candidate);
        m.scratch[33] = before;
    }
    sync_block();
    Pick pick;
    pick.bin = static_cast<int>(static_cast<u64>(m.scratch[32]));
    pick.above = m.scratch[33];
    pick.members = m.counts[pick.bin];
    pick.value = m.mass[pick.bin];
    return pick;
}

// Cuts the distribution to the shortest prefix in descending order (ties: lower ids first) that reaches the target: a number of ids, or a mass.
TILE void keep_prefix(Distribution &d, const SampleMemory &m, u64 target, bool by_mass) {
    auto coarse = [&](float logit) { return static_cast<int>(fminf((d.maximum - logit) / d.temperature * bins_per_unit, bins - 1.0f)); };
    Pick pick = pick_bin(d, m, 0, target, by_mass, coarse);
    int bin = pick.bin;
    uint32_t key = 0;
    uint32_t known = 0;
    for (int round = 0; round < 3; round++) {
        int shift = round == 0 ? 21 : round == 1 ? 10 : 0;
        uint32_t digits = round == 2 ? 1023u : 2047u;
        pick = pick_bin(d, m, pick.above, target, by_mass, [&](float logit) {
            uint32_t k = order_of(logit);
            return coarse(logit) == bin && (k & known) == key ? static_cast<int>(digits - (k >> shift & digits)) : -1;
        });
        key |= (digits - static_cast<uint32_t>(pick.bin)) << shift;
        known |= digits << shift;
    }
    // All members of the last bin are equal.
    u64 each = by_mass ? pick.value / pick.members : 1;
    u64 ties = (target - pick.above + each - 1) / each;
    int last = key == d.edge ? d.last_tie : d.vocab;
    if (ties < pick.members) {
        auto tie = [&](int id) {
            float logit = finite_logit(d.logits[id]);
            return order_of(logit) == key && weight_of(d, id, logit) > 0 ? 1.0f : 0.0f;
        };
        sum_segments(d.vocab, m, tie);
        last = find_id(d.vocab, m, static_cast<double>(ties) - 0.5, tie);
    }
    d.edge = key;
    d.last_tie = last;
}

TILE u64 mix64(u64 z) {
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
}

// Uniform in [0, 1) with 53 bits, from seed and position alone (SplitMix64, Steele et al. 2014).
TILE double uniform(int64_t seed, int32_t draw_index) {
    u64 step = static_cast<u64>(static_cast<int64_t>(draw_index) + 1) * 0x9E3779B97F4A7C15ull;
    return static_cast<double>(mix64(mix64(static_cast<u64>(seed)) + step) >> 11) * (1.0 / 9007199254740992.0);
}

TILE int draw(const mr_sample_params &p, int r, Distribution d, const Best &largest, const SampleMemory &m) {
    auto weight = [&](int id) { return weight_of(d, id, finite_logit(d.logits[id])); };
    int top_k = p.top_k[r];
    float top_p = p.top_p[r];
    if (top_k > 0 && top_k < d.vocab) {
        // Where fewer have a weight than are asked for, all of them stay.
        double with_weight = sum_segments(d.vocab, m, [&](int id) { return weight(id) > 0 ? 1.0f : 0.0f; });
        if (with_weight > static_cast<double>(top_k)) {
            keep_prefix(d, m, static_cast<u64>(top_k), false);
        }
    }
    if (top_p < 1) {
        // The mass in the units in which it will be counted.
        u64 mine = 0;
        for (int id = static_cast<int>(threadIdx.x); id < d.vocab; id += sample_threads) {
            mine += static_cast<u64>(weight(id) * mass_unit);
        }
        u64 total;
        block_scan<u64>(mine, &total, m.scratch);
        if (total > 0) {
            double target = static_cast<double>(top_p) * static_cast<double>(total);
            u64 units = static_cast<u64>(target);
            units += static_cast<double>(units) < target ? 1 : 0;
            keep_prefix(d, m, units < 1 ? 1 : units, true);
        }
    }
    double total = sum_segments(d.vocab, m, weight);
    if (!(total > 0)) {
        return largest.id;  // min-p beyond 1
    }
    return find_id(d.vocab, m, uniform(p.seed[r], p.draw_index[r]) * total, weight);
}

template <class T>
TILE const T *at_address(int64_t address) {
    return reinterpret_cast<const T *>(static_cast<uintptr_t>(address));
}

TILE Best largest_of(const float *logits, int vocab, smem<u64> scratch) {
    Best mine{minus_infinity, 0x7fffffff};
    for (int id = static_cast<int>(threadIdx.x); id < vocab; id += sample_threads) {
        Best other{finite_logit(logits[id]), id};
        mine = better(other, mine) ? other : mine;
    }
    return block_best(mine, scratch);
}

// Copies the row with the mask applied, then bias, suppression and penalties. Every id is changed by one thread at a time.
TILE void modify(const mr_sample_params &p, int r, const float *raw, float *work, bool penalties) {
    int vocab = p.vocab;
    int thread = static_cast<int>(threadIdx.x);
    const uint32_t *mask = at_address<uint32_t>(p.allowed_mask[r]);
    for (int id = thread; id < vocab; id += sample_threads) {
        work[id] = mask == nullptr || (mask[id / 32] >> id % 32 & 1) != 0 ? finite_logit(raw[id]) : minus_infinity;
    }
    sync_block();
    const int32_t *ids = at_address<int32_t>(p.bias_ids[r]);
    const float *values = at_address<float>(p.bias_values[r]);
    int biases = p.bias_count[r];
    for (int i = thread; i < biases; i += sample_threads) {
        int id = ids[i];
        bool first = id >= 0 && id < vocab;
        for (int j = 0; j < i && first; j++) {
            first = ids[j] != id;
        }
        for (int j = i; j < biases && first; j++) {
            work[id] = ids[j] == id ? work[id] + values[j] : work[id];
        }
    }
    sync_block();
    const int32_t *suppressed = at_address<int32_t>(p.suppress_ids[r]);
    for (int i = thread; i < p.suppress_count[r]; i += sample_threads) {
        if (suppressed[i] >= 0 && suppressed[i] < vocab) {
            work[suppressed[i]] = minus_infinity;
        }
    }
    if (!penalties) {
        sync_block();
        return;
    }
    int32_t *history = const_cast<int32_t *>(at_address<int32_t>(p.history[r]));
    int32_t *occurrences = p.occurrences + static_cast<int64_t>(r) * vocab;
    int length = p.history_len[r];
    if (thread == 0 && p.history_source[r] >= 0) {
        history[length - 1] = p.previous_token[p.history_source[r]];  // nobody knew it yet
    }
    sync_block();
    for (int i = thread; i < length; i += sample_threads) {
        if (history[i] >= 0 && history[i] < vocab) {
            occurrences[history[i]] = 0;
        }
    }
    sync_block();
    // Bit 0: met at all; the rest: how often in the output.
    for (int i = thread; i < length; i += sample_threads) {
        if (history[i] >= 0 && history[i] < vocab) {
            if (i >= p.prompt_len[r]) {
                atomic_add(occurrences + history[i], 2);
            }
            atomic_or(occurrences + history[i], 1);
        }
    }
    sync_block();
    // Who takes an id's number settles the id.
    for (int i = thread; i < length; i += sample_threads) {
        int id = history[i];
        int met = id >= 0 && id < vocab ? atomic_exchange(occurrences + id, 0) : 0;
        if (met != 0) {
            float logit = work[id];
            logit = logit > 0 ? logit / p.repetition_penalty[r] : rounded_product(logit, p.repetition_penalty[r]);
            if (met > 1) {
                logit = logit - rounded_sum(rounded_product(p.frequency_penalty[r], static_cast<float>(met / 2)), p.presence_penalty[r]);
            }
            work[id] = logit;
        }
    }
    sync_block();
}

}  // namespace

// Dynamic shared memory: sample_shared_bytes.
KERNEL(sample_threads, 2) mr_sample(PARAMS(mr_sample_params) p) {
    SHARED_MEMORY(memory);
    SampleMemory m{shared_at<uint32_t>(memory, 0), shared_at<u64>(memory, bins * 4), shared_at<double>(memory, bins * 12),
                   shared_at<u64>(memory, bins * 12 + max_segments * 8)};
    pdl_wait();
    pdl_trigger();
    int r = static_cast<int>(blockIdx.x);
    if (r >= *p.rows) {
        return;
    }
    int vocab = p.vocab;
    const float *raw = p.logits + static_cast<int64_t>(r) * vocab;
    Best top = largest_of(raw, vocab, m.scratch);

    // Log-probabilities are those of the raw logits; the sum is kept apart from the maximum, which may be huge.
    float mine = 0;
    for (int id = static_cast<int>(threadIdx.x); id < vocab; id += sample_threads) {
        mine += top.logit == minus_infinity ? 0 : expf(finite_logit(raw[id]) - top.logit);
    }
    double sum;
    block_scan<double>(static_cast<double>(mine), &sum, shared_as<double>(m.scratch));
    double log_sum = log(sum);
    auto logprob = [&](int id) {
        float logit = finite_logit(raw[id]);
        return logit == minus_infinity ? minus_infinity
                                       : static_cast<float>(static_cast<double>(logit) - static_cast<double>(top.logit) - log_sum);
    };
    int reported = min(min(p.num_top[r], p.max_top), vocab);
    Best previous{0, 0};
    for (int i = 0; i < reported; i++) {
        Best next{minus_infinity, 0x7fffffff};
        for (int id = static_cast<int>(threadIdx.x); id < vocab; id += sample_threads) {
            Best other{finite_logit(raw[id]), id};
            if ((i == 0 || better(previous, other)) && better(other, next)) {
                next = other;
            }
        }
        previous = block_best(next, m.scratch);
        if (threadIdx.x == 0) {
            p.top_ids[r * p.max_top + i] = previous.id;
            p.top_logprobs[r * p.max_top + i] = logprob(previous.id);
        }
    }

    int token = p.target[r];
    if (token >= vocab) {
        if (threadIdx.x == 0) {
            report_fault(p.fault, MR_CUDA_FAULT_TOKEN_ID, r, token, vocab);
        }
        return;
    }
    if (token < 0) {
        float temperature = p.temperature[r];
        bool penalties = p.history[r] != 0 && (p.repetition_penalty[r] != 1 || p.frequency_penalty[r] != 0 || p.presence_penalty[r] != 0);
        Distribution d{raw, vocab, 0, temperature, p.min_p[r], 0, vocab};
        Best largest = top;
        if (penalties || p.bias_count[r] > 0 || p.suppress_count[r] > 0 || p.allowed_mask[r] != 0) {
            float *work = p.work + static_cast<int64_t>(r) * vocab;
            modify(p, r, raw, work, penalties);
            d.logits = work;
            largest = largest_of(work, vocab, m.scratch);
        }
        d.maximum = largest.logit;
        token = temperature == 0 || largest.logit == minus_infinity ? largest.id : draw(p, r, d, largest, m);
    }
    float chosen = finite_logit(raw[token]);
    uint32_t higher = 0;
    for (int id = static_cast<int>(threadIdx.x); id < vocab; id += sample_threads) {
        higher += finite_logit(raw[id]) > chosen ? 1 : 0;
    }
    u64 all_higher;
    block_scan<u64>(higher, &all_higher, m.scratch);
    if (threadIdx.x == 0) {
        p.token[r] = token;
        p.logprob[r] = logprob(token);
        p.rank[r] = 1 + static_cast<int>(all_higher);
    }
}

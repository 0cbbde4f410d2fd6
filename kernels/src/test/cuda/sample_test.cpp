#include <cfloat>
#include <map>
#include <numeric>

#include "sample.cu"
#include "test.h"

using test::Buffer;

LAUNCH_SHAPE(mr_sample, sample_threads, sample_shared_bytes);

namespace {

// One row's parameters, with the lists that its addresses point to.
struct Row {
    float temperature = 0, top_p = 1, min_p = 0, repetition = 1, frequency = 0, presence = 0;
    int top_k = 0, draw_index = 0, target = -1, num_top = 0, history_source = -1, prompt_len = 0;
    int64_t seed = 0;
    std::vector<int32_t> history, bias_ids, suppress;
    std::vector<float> bias_values;
    std::vector<uint32_t> mask;
};

struct Result {
    int token, rank;
    float logprob;
    std::vector<int> top_ids;
    std::vector<float> top_logprobs;
};

constexpr int max_top = 5;

std::vector<Result> sample(std::vector<Row> rows, const std::vector<std::vector<float>> &logits, const std::vector<int> &previous = {},
                           mr_cuda_fault *fault_out = nullptr) {
    size_t n = rows.size();
    size_t vocab = logits[0].size();
    Buffer<float> l(n * vocab), work(n * vocab), temperature(n), top_p(n), min_p(n), repetition(n), frequency(n), presence(n), logprob(n),
        top_logprobs(n * max_top);
    Buffer<int32_t> occurrences(n * vocab), count(1), top_k(n), draw_index(n), target(n), num_top(n), history_len(n), history_source(n), prompt_len(n),
        bias_count(n), suppress_count(n), previous_token(previous.size() + 1), token(n), rank(n), top_ids(n * max_top);
    Buffer<int64_t> seed(n), history(n), bias_ids(n), bias_values(n), suppress_ids(n), mask(n);
    Buffer<mr_cuda_fault> fault(1);
    fault[0] = {};
    auto address = [](auto &v) { return v.empty() ? int64_t{0} : static_cast<int64_t>(reinterpret_cast<uintptr_t>(v.data())); };
    for (size_t r = 0; r < n; r++) {
        Row &row = rows[r];
        std::copy(logits[r].begin(), logits[r].end(), l.data() + r * vocab);
        temperature[r] = row.temperature, top_p[r] = row.top_p, min_p[r] = row.min_p, repetition[r] = row.repetition, frequency[r] = row.frequency;
        presence[r] = row.presence, top_k[r] = row.top_k, draw_index[r] = row.draw_index, target[r] = row.target, num_top[r] = row.num_top;
        seed[r] = row.seed, history[r] = address(row.history), history_len[r] = static_cast<int>(row.history.size());
        history_source[r] = row.history_source, prompt_len[r] = row.prompt_len, bias_ids[r] = address(row.bias_ids);
        bias_values[r] = address(row.bias_values), bias_count[r] = static_cast<int>(row.bias_ids.size());
        suppress_ids[r] = address(row.suppress), suppress_count[r] = static_cast<int>(row.suppress.size()), mask[r] = address(row.mask);
    }
    for (size_t i = 0; i < previous.size(); i++) {
        previous_token[i] = previous[i];
    }
    count[0] = static_cast<int>(n);
    mr_sample_params p{l, work, occurrences, count, temperature, top_k, top_p, min_p, repetition, frequency, presence, seed, draw_index, target, num_top,
                       history, history_len, history_source, prompt_len, bias_ids, bias_values, bias_count, suppress_ids, suppress_count, mask,
                       previous_token, token, logprob, rank, top_ids, top_logprobs, fault, static_cast<int>(vocab), max_top};
    emu::run(test::launch_of(dim3(n + 1), dim3(sample_threads), sample_shared_bytes), mr_sample, p);
    CHECK(fault_out != nullptr || fault[0].code == 0);
    if (fault_out != nullptr) {
        *fault_out = fault[0];
    }
    std::vector<Result> results;
    for (size_t r = 0; r < n; r++) {
        Result result{token[r], rank[r], logprob[r], {}, {}};
        for (int i = 0; i < std::min({rows[r].num_top, max_top, static_cast<int>(vocab)}); i++) {
            result.top_ids.push_back(top_ids[r * max_top + i]);
            result.top_logprobs.push_back(top_logprobs[r * max_top + i]);
        }
        results.push_back(result);
    }
    return results;
}

float finite(float x) { return std::isnan(x) ? -INFINITY : std::min(x, FLT_MAX); }

uint64_t mix(uint64_t z) {
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

// Ids from the most likely on, ties to the lower id.
std::vector<int> descending(const std::vector<float> &logits) {
    std::vector<int> order(logits.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return logits[a] > logits[b]; });
    return order;
}

// The definition in SamplingRows, with sorted lists and in double. `close` says that an edge is too near to call in float.
Result define(const Row &row, const std::vector<float> &raw, bool *close) {
    std::vector<float> logits;
    for (float x : raw) {
        logits.push_back(finite(x));
    }
    const std::vector<float> finite_raw = logits;
    int vocab = static_cast<int>(logits.size());
    std::vector<int> order = descending(logits);
    double maximum = logits[order[0]];
    double total = 0;
    for (float x : logits) {
        total += std::exp(x - maximum);
    }
    auto logprob = [&](int id) {
        return finite_raw[id] == -INFINITY ? -INFINITY : static_cast<float>(finite_raw[id] - maximum - std::log(total));
    };
    Result result{row.target, 1, 0, {}, {}};
    for (int i = 0; i < std::min({row.num_top, max_top, vocab}); i++) {
        result.top_ids.push_back(order[i]);
        result.top_logprobs.push_back(logprob(order[i]));
    }
    *close = false;
    if (row.target < 0) {
        auto inside = [&](int id) { return id >= 0 && id < vocab; };
        for (size_t i = 0; i < row.bias_ids.size(); i++) {
            if (inside(row.bias_ids[i])) {
                logits[row.bias_ids[i]] += row.bias_values[i];
            }
        }
        for (int id = 0; id < vocab && !row.mask.empty(); id++) {
            logits[id] = row.mask[id / 32] >> id % 32 & 1 ? logits[id] : -INFINITY;
        }
        for (int id : row.suppress) {
            if (inside(id)) {
                logits[id] = -INFINITY;
            }
        }
        std::map<int, int> met;
        for (size_t i = 0; i < row.history.size(); i++) {
            if (inside(row.history[i])) {
                met[row.history[i]] += static_cast<int>(i) >= row.prompt_len;
            }
        }
        for (auto [id, times] : met) {
            logits[id] = logits[id] > 0 ? logits[id] / row.repetition : logits[id] * row.repetition;
            if (times > 0) {
                float penalty = row.frequency * static_cast<float>(times);
                penalty += row.presence;
                logits[id] -= penalty;
            }
        }
        order = descending(logits);
        float largest = logits[order[0]];
        if (row.temperature == 0 || largest == -INFINITY) {
            result.token = largest == -INFINITY ? 0 : order[0];
        } else {
            std::vector<double> w(vocab);
            int kept = vocab;
            for (int id = 0; id < vocab; id++) {
                w[id] = std::exp((static_cast<double>(logits[id]) - largest) / row.temperature);
                *close |= row.min_p > 0 && std::fabs(w[id] / row.min_p - 1) < 1e-4;
            }
            while (kept > 1 && w[order[kept - 1]] < row.min_p) {
                kept--;
            }
            kept = row.top_k > 0 ? std::min(kept, row.top_k) : kept;
            if (row.top_p < 1) {
                double all = 0;
                for (int i = 0; i < kept; i++) {
                    all += w[order[i]];
                }
                double sum = 0;
                for (int i = 0; i < kept; i++) {
                    sum += w[order[i]];
                    *close |= std::fabs(sum / all - row.top_p) < 1e-5;
                    if (sum >= row.top_p * all) {
                        kept = i + 1;
                    }
                }
            }
            for (int i = kept; i < vocab; i++) {
                w[order[i]] = 0;
            }
            double all = std::accumulate(w.begin(), w.end(), 0.0);
            uint64_t step = static_cast<uint64_t>(static_cast<int64_t>(row.draw_index) + 1) * 0x9E3779B97F4A7C15u;
            double u = static_cast<double>(mix(mix(static_cast<uint64_t>(row.seed)) + step) >> 11) * 0x1p-53;
            double sum = 0;
            result.token = order[0];
            for (int id = 0; id < vocab; id++) {
                sum += w[id];
                *close |= std::fabs(sum / all - u) < 1e-6;
                if (w[id] > 0) {
                    result.token = id;
                    if (sum > u * all) {
                        break;
                    }
                }
            }
        }
    }
    result.logprob = logprob(result.token);
    for (float x : finite_raw) {
        result.rank += x > finite_raw[result.token];
    }
    return result;
}

// Compares all rows with the definition; returns how many could be called.
int compare(const std::vector<Row> &rows, const std::vector<std::vector<float>> &logits) {
    std::vector<Result> got = sample(rows, logits);
    int called = 0;
    for (size_t r = 0; r < rows.size(); r++) {
        bool close;
        Result wanted = define(rows[r], logits[r], &close);
        std::string row = "row " + std::to_string(r) + ": token " + std::to_string(got[r].token) + ", wanted " + std::to_string(wanted.token);
        if (!close) {
            CHECK_MESSAGE(got[r].token == wanted.token, row);
            CHECK_MESSAGE(got[r].rank == wanted.rank, row);
            CHECK_MESSAGE(got[r].logprob == wanted.logprob || std::fabs(got[r].logprob - wanted.logprob) <= 2e-5 + 2e-6 * std::fabs(wanted.logprob), row);
            called++;
        }
        CHECK_MESSAGE(got[r].top_ids == wanted.top_ids, row);
        for (size_t i = 0; i < wanted.top_ids.size(); i++) {
            CHECK(got[r].top_logprobs[i] == wanted.top_logprobs[i] || std::fabs(got[r].top_logprobs[i] - wanted.top_logprobs[i]) <= 3e-5);
        }
    }
    return called;
}

std::vector<float> random_logits(int vocab, test::Random &random, float scale) {
    std::vector<float> l(vocab);
    for (float &x : l) {
        x = random.normal(scale);
    }
    return l;
}

}  // namespace

// Property: every combination of filters draws what the definition draws, over vocabularies off every tile's edge.
KERNEL_TEST(sample_draws_by_the_definition) {
    test::Random random(1);
    int called = 0;
    int all = 0;
    for (int vocab : {1, 7, 33, 1000, 5003}) {
        std::vector<Row> rows;
        std::vector<std::vector<float>> logits;
        for (int i = 0; i < 24; i++) {
            Row row;
            row.temperature = i % 8 == 7 ? 0 : 0.3f + 0.2f * static_cast<float>(i % 7);
            row.top_k = i % 3 == 1 ? 1 + random.below(vocab + 3) : 0;
            row.top_p = i % 4 >= 2 ? 0.3f + 0.1f * static_cast<float>(i % 6) : 1;
            row.min_p = i % 5 == 4 ? 0.02f : 0;
            row.seed = static_cast<int64_t>(random.engine()()) << 31 ^ random.engine()();
            row.draw_index = random.below(5000);
            row.num_top = i % max_top;
            rows.push_back(row);
            logits.push_back(random_logits(vocab, random, 3));
        }
        called += compare(rows, logits);
        all += static_cast<int>(rows.size());
    }
    CHECK(called > all * 9 / 10);
}

// Property: ties at the edges of top-k and top-p go to lower ids, by count and by mass, also where all logits are equal.
KERNEL_TEST(sample_settles_ties_by_id) {
    std::vector<Row> rows;
    std::vector<std::vector<float>> logits;
    for (int i = 0; i < 24; i++) {
        Row row;
        row.temperature = 1;
        row.top_k = i % 2 == 0 ? 1 + i * 7 : 0;
        row.top_p = i % 2 == 0 && i % 3 != 0 ? 1 : 0.137f * static_cast<float>(1 + i % 6);
        row.seed = i * 77;
        row.draw_index = i;
        rows.push_back(row);
        std::vector<float> l(300, i % 4 == 3 ? 0.0f : -3.0f);
        for (int id = 5; id < 300; id += 2 + i % 3) {
            l[id] = id % 4 == 1 ? 0.0f : -0.0f;  // equal
        }
        logits.push_back(l);
    }
    CHECK(compare(rows, logits) >= 20);
}

// Property: bias (also twice on one id), mask, suppression and penalties in their order, with ids outside the vocabulary ignored.
KERNEL_TEST(sample_modifies_logits) {
    test::Random random(4);
    int vocab = 700;
    std::vector<Row> rows;
    std::vector<std::vector<float>> logits;
    for (int i = 0; i < 20; i++) {
        Row row;
        row.temperature = i % 2 == 0 ? 0 : 0.8f;
        row.top_k = i % 5 == 3 ? 40 : 0;
        row.seed = i;
        if (i % 3 != 0) {
            for (int k = 0; k < 40; k++) {
                row.bias_ids.push_back(random.below(30) * 20 - 5);
                row.bias_values.push_back(random.normal(2));
            }
        }
        if (i % 4 == 1) {
            row.mask.assign((vocab + 31) / 32, 0x0f0f3355u * static_cast<uint32_t>(i));
        }
        if (i % 4 >= 2) {
            for (int k = 0; k < 50; k++) {
                row.suppress.push_back(random.below(vocab + 10) - 5);
            }
        }
        if (i % 2 == 1 || i > 10) {
            row.repetition = i % 3 == 0 ? 1 : 1.3f;
            row.frequency = i % 3 == 1 ? 0 : 0.4f;
            row.presence = 0.3f;
            for (int k = 0; k < 600; k++) {
                row.history.push_back(random.below(200) * 4 - 3);
            }
            row.prompt_len = i % 4 == 0 ? 600 : 250;
        }
        rows.push_back(row);
        logits.push_back(random_logits(vocab, random, 2));
    }
    CHECK(compare(rows, logits) >= 18);
}

// Property: the last token of a history may be what the step before drew, and is filled in.
KERNEL_TEST(sample_completes_histories) {
    Row row;
    row.presence = 100;
    row.history = {3, -1};
    row.history_source = 1;
    std::vector<float> l = {0, 5, 4, 3};
    CHECK(sample({row}, {l}, {3, 1})[0].token == 2);
    CHECK(sample({row}, {l}, {3, 2})[0].token == 1);
}

// Property: NaN, infinities, all impossible, a temperature that would overflow, min-p beyond 1, scoring, and a target outside the vocabulary.
KERNEL_TEST(sample_survives_hostile_rows) {
    std::vector<float> l = {1, NAN, INFINITY, -INFINITY, 2, 3.4e38f, -3.4e38f, 0};
    std::vector<float> none(8, -INFINITY);
    std::vector<Row> rows(7);
    rows[1].temperature = 1, rows[1].num_top = 5;
    rows[2].temperature = 1e-30f, rows[2].top_p = 0;
    rows[3].temperature = 1, rows[3].min_p = 2;
    rows[4].target = 3, rows[4].num_top = 2;
    rows[5].temperature = 1, rows[5].top_k = 3;
    rows[6].mask = {0}, rows[6].temperature = 1;
    CHECK(compare(rows, {l, l, l, {0, 1, 2, 3, 4, 5, 5, 1}, l, none, l}) == 7);
    Row bad;
    bad.target = 8;
    mr_cuda_fault fault;
    sample({bad}, {l}, {}, &fault);
    CHECK(fault.code == MR_CUDA_FAULT_TOKEN_ID && fault.value == 8 && fault.limit == 8);
}

// Property: a row's draw does not depend on its place nor on its company, and over many draws has the frequencies of its distribution.
TEST(sample_has_the_frequencies_of_its_distribution) {
    test::order = emu::Order::random;
    std::vector<float> l = {0.5f, 1.5f, -1, 0, 2, -3, 1};
    std::vector<Row> rows(210);
    for (size_t i = 0; i < rows.size(); i++) {
        rows[i].temperature = 1;
        rows[i].seed = 9;
        rows[i].draw_index = static_cast<int>(i);
    }
    std::vector<Result> together = sample(rows, std::vector<std::vector<float>>(rows.size(), l));
    CHECK(sample({rows[17]}, {l})[0].token == together[17].token);
    double total = 0;
    for (float x : l) {
        total += std::exp(x);
    }
    double chi = 0;
    for (int id = 0; id < 7; id++) {
        double wanted = rows.size() * std::exp(l[id]) / total;
        double seen = static_cast<double>(std::count_if(together.begin(), together.end(), [&](const Result &r) { return r.token == id; }));
        chi += (seen - wanted) * (seen - wanted) / wanted;
    }
    CHECK(chi < 22.5);  // p = 0.001 at six degrees of freedom
}

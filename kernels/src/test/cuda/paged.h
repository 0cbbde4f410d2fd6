// A paged KV cache and a ragged batch for tests: blocks in random order, every element known.
#pragma once
#include "common.h"
#include "test.h"

namespace test {

struct PagedCache {
    int num_blocks, num_kv_heads, head_dim;
    Buffer<bf16> data;

    PagedCache(int blocks, int kv_heads, int dim)
        : num_blocks(blocks), num_kv_heads(kv_heads), head_dim(dim), data(static_cast<size_t>(blocks) * kv_heads * 2 * MR_CUDA_PAGE * dim) {}

    // kind: 0 key, 1 value.
    bf16 &at(int block, int head, int kind, int slot, int d) {
        int chunk = kv_chunk(d / 8, slot, head_dim);
        return data[(((static_cast<size_t>(block) * num_kv_heads + head) * 2 + kind) * MR_CUDA_PAGE + slot) * head_dim + chunk * 8 + d % 8];
    }
};

struct RaggedBatch {
    std::vector<int> query_len, context;  // per sequence; context includes the queries
    int num_tokens = 0;
    int max_blocks;
    int num_blocks;  // that the cache needs
    Buffer<int32_t> query_start, context_len, positions, token_sequence, tables, counts;

    RaggedBatch(std::vector<int> queries, std::vector<int> contexts, uint32_t seed)
        : query_len(queries), context(contexts), max_blocks(blocks_of(contexts)), num_blocks(0), query_start(queries.size() + 1),
          context_len(queries.size()), positions(sum(queries)), token_sequence(sum(queries)), tables(queries.size() * max_blocks), counts(3) {
        Random random(seed);
        for (int c : context) {
            num_blocks += (c + MR_CUDA_PAGE - 1) / MR_CUDA_PAGE;
        }
        num_blocks += 2;  // one that nobody has, and one after the last
        std::vector<int> ids(num_blocks - 1);
        for (int i = 0; i < num_blocks - 1; i++) {
            ids[i] = i;
        }
        std::shuffle(ids.begin(), ids.end(), random.engine());
        int next = 0;
        tables.fill(1 << 28);  // entries beyond a context are never followed
        query_start[0] = 0;
        for (size_t s = 0; s < query_len.size(); s++) {
            for (int b = 0; b < (context[s] + MR_CUDA_PAGE - 1) / MR_CUDA_PAGE; b++) {
                tables[s * max_blocks + b] = ids[next++];
            }
            for (int i = 0; i < query_len[s]; i++) {
                positions[num_tokens] = context[s] - query_len[s] + i;
                token_sequence[num_tokens++] = static_cast<int>(s);
            }
            query_start[s + 1] = num_tokens;
            context_len[s] = context[s];
        }
        counts[0] = num_tokens;
        counts[1] = static_cast<int>(query_len.size());
        counts[2] = 0;
    }

    int block_of(int sequence, int position) const { return tables[static_cast<size_t>(sequence) * max_blocks + position / MR_CUDA_PAGE]; }

  private:
    static int sum(const std::vector<int> &v) {
        int total = 0;
        for (int x : v) {
            total += x;
        }
        return total;
    }
    static int blocks_of(const std::vector<int> &contexts) {
        return (*std::max_element(contexts.begin(), contexts.end()) + MR_CUDA_PAGE - 1) / MR_CUDA_PAGE + 1;
    }
};

// Fills the positions of the batch's contexts; all else stays NaN.
inline void fill(PagedCache &cache, const RaggedBatch &batch, Random &random) {
    for (size_t s = 0; s < batch.context.size(); s++) {
        for (int p = 0; p < batch.context[s]; p++) {
            for (int h = 0; h < cache.num_kv_heads; h++) {
                for (int d = 0; d < cache.head_dim; d++) {
                    cache.at(batch.block_of(s, p), h, 0, p % MR_CUDA_PAGE, d) = to_bf16(random.normal());
                    cache.at(batch.block_of(s, p), h, 1, p % MR_CUDA_PAGE, d) = to_bf16(random.normal());
                }
            }
        }
    }
}

struct AttentionCase {
    int num_kv_heads, group, head_dim;
    int window = 0;
    float soft_cap = 0;
    bool sinks = false;
    int width = 0;  // of the heads in out, where they are narrower than head_dim

    int out_dim() const { return width > 0 ? width : head_dim; }
};

// One query head of one token in double: softmax over the positions it sees, weighted sum of the values.
inline std::vector<double> attend(const AttentionCase &a, PagedCache &cache, const RaggedBatch &batch, const bf16 *q, int token, int head,
                                  const float *sinks) {
    int sequence = batch.token_sequence[token];
    int end = batch.positions[token] + 1;
    int begin = a.window == 0 ? 0 : std::max(0, end - a.window);
    int kv_head = head / a.group;
    std::vector<double> weights(end - begin);
    double maximum = sinks == nullptr ? -INFINITY : sinks[head];
    for (int p = begin; p < end; p++) {
        double dot = 0;
        for (int d = 0; d < a.head_dim; d++) {
            dot += static_cast<double>(to_float(q[d])) * to_float(cache.at(batch.block_of(sequence, p), kv_head, 0, p % MR_CUDA_PAGE, d));
        }
        // Queries carry the scale; without a cap also log2(e).
        weights[p - begin] = a.soft_cap == 0 ? dot / 1.4426950408889634 : a.soft_cap * std::tanh(dot / a.soft_cap);
        maximum = std::max(maximum, weights[p - begin]);
    }
    double total = sinks == nullptr ? 0 : std::exp(sinks[head] - maximum);
    std::vector<double> out(a.head_dim);
    for (int p = begin; p < end; p++) {
        double w = std::exp(weights[p - begin] - maximum);
        total += w;
        for (int d = 0; d < a.head_dim; d++) {
            out[d] += w * to_float(cache.at(batch.block_of(sequence, p), kv_head, 1, p % MR_CUDA_PAGE, d));
        }
    }
    for (double &x : out) {
        x /= total;
    }
    return out;
}

}  // namespace test

#include "paged.h"
#include "qkv_post.cu"

using test::Buffer;

LAUNCH_SHAPE(mr_qkv_post, 32 * qkv_heads_per_block, 0);

namespace {

struct Shape {
    int heads, kv_heads, head_dim, rotary_dim;
    bool interleaved, bias, norms, in_place;
    int page_dim = 0;  // of the cache and q_out, where it is more
};

void qkv_case(const Shape &s) {
    test::RaggedBatch batch({3, 1, 17}, {3, 33, 40}, 7);
    int page_dim = std::max(s.head_dim, s.page_dim);
    test::PagedCache cache(batch.num_blocks, s.kv_heads, page_dim);
    int heads = s.heads + 2 * s.kv_heads;
    int cols = (heads * s.head_dim + 7) / 8 * 8;
    int tokens = batch.num_tokens;
    int positions = 41;
    int half = s.rotary_dim / 2;
    Buffer<bf16> qkv((tokens + 1) * cols), q_out((tokens + 1) * s.heads * page_dim);
    Buffer<float> bias(cols), query_norm(s.head_dim), key_norm(s.head_dim), cosine(positions * half), sine(positions * half);
    Buffer<mr_cuda_fault> fault(1);
    test::Random random(s.head_dim + s.heads);
    random.fill(qkv);
    random.fill(bias, 0.5f);
    random.fill(query_norm, 0.3f, 1);
    random.fill(key_norm, 0.3f, 1);
    for (int i = 0; i < positions * half; i++) {
        double angle = i / half * std::pow(10000.0, -2.0 * (i % half) / s.rotary_dim);
        cosine[i] = static_cast<float>(std::cos(angle));
        sine[i] = static_cast<float>(std::sin(angle));
    }
    fault[0] = {};
    std::vector<bf16> x(qkv.data(), qkv.data() + tokens * cols);
    float scale = 0.125f * 1.4426950f;
    mr_qkv_post_params p{qkv, s.bias ? bias.data() : nullptr, s.norms ? query_norm.data() : nullptr, s.norms ? key_norm.data() : nullptr, cosine,
                         sine, batch.positions, batch.token_sequence, batch.tables, s.in_place ? qkv.data() : q_out.data(), cache.data,
                         &batch.counts[0], fault, s.heads, s.kv_heads, s.head_dim, s.rotary_dim, s.interleaved, positions, batch.max_blocks,
                         batch.num_blocks, s.in_place ? cols : s.heads * page_dim, 1e-6f, scale, cols, page_dim};
    dim3 grid(tokens + 1, (heads + qkv_heads_per_block - 1) / qkv_heads_per_block);
    emu::run(test::launch_of(grid, dim3(32 * qkv_heads_per_block), 0), mr_qkv_post, p);
    CHECK(fault[0].code == 0);

    test::Error query_error, key_error, value_error;
    std::vector<double> v(s.head_dim);
    for (int t = 0; t < tokens; t++) {
        for (int h = 0; h < heads; h++) {
            bool is_value = h >= s.heads + s.kv_heads;
            double squares = 0;
            for (int d = 0; d < s.head_dim; d++) {
                v[d] = to_float(x[t * cols + h * s.head_dim + d]) + (s.bias ? bias[h * s.head_dim + d] : 0);
                squares += v[d] * v[d];
            }
            if (!is_value) {
                for (int d = 0; d < s.head_dim && s.norms; d++) {
                    v[d] *= (h < s.heads ? query_norm : key_norm)[d] / std::sqrt(squares / s.head_dim + 1e-6);
                }
                for (int i = 0; i < half; i++) {
                    int first = s.interleaved ? 2 * i : i;
                    int second = s.interleaved ? 2 * i + 1 : i + half;
                    double c = cosine[batch.positions[t] * half + i];
                    double sn = sine[batch.positions[t] * half + i];
                    double a = v[first];
                    double b = v[second];
                    v[first] = a * c - b * sn;
                    v[second] = b * c + a * sn;
                }
            }
            for (int d = 0; d < s.head_dim; d++) {
                if (h < s.heads) {
                    int at = s.in_place ? t * cols + h * s.head_dim + d : (t * s.heads + h) * page_dim + d;
                    query_error.add(to_float((s.in_place ? qkv : q_out)[at]), v[d] * scale);
                } else {
                    int block = batch.block_of(batch.token_sequence[t], batch.positions[t]);
                    bf16 stored = cache.at(block, (h - s.heads) % s.kv_heads, is_value, batch.positions[t] % MR_CUDA_PAGE, d);
                    (is_value ? value_error : key_error).add(to_float(stored), v[d]);
                }
            }
            for (int d = s.head_dim; d < page_dim; d++) {
                int block = batch.block_of(batch.token_sequence[t], batch.positions[t]);
                CHECK((h < s.heads ? q_out[(t * s.heads + h) * page_dim + d]
                                   : cache.at(block, (h - s.heads) % s.kv_heads, is_value, batch.positions[t] % MR_CUDA_PAGE, d)).bits << 1 == 0);
            }
        }
    }
    CHECK_ERROR(query_error, 3e-3);
    CHECK_ERROR(key_error, 3e-3);
    CHECK_ERROR(value_error, 3e-3);
    size_t written = 0;
    for (size_t i = 0; i < cache.data.size(); i++) {
        written += cache.data[i].bits != 0xffff;
    }
    CHECK(written == static_cast<size_t>(tokens) * 2 * s.kv_heads * page_dim);
}

}  // namespace

// Property: queries rotated and scaled, keys and values in their swizzled places and nowhere else, for all head sizes, both pairings, partial
// rotations, with and without bias and norms, in place and not.
KERNEL_TEST(qkv_post_rotates_and_writes_the_cache) {
    qkv_case({4, 2, 64, 64, false, false, false, false});
    qkv_case({7, 1, 64, 64, true, true, false, true});
    qkv_case({4, 4, 96, 96, false, true, true, true});
    qkv_case({8, 1, 128, 128, false, false, true, false});
    qkv_case({2, 2, 128, 64, false, true, false, true});
    qkv_case({2, 2, 128, 32, true, false, true, false});
    qkv_case({5, 1, 256, 256, false, true, true, true});
    qkv_case({2, 1, 16, 16, false, false, false, false});
    qkv_case({4, 2, 8, 8, false, false, false, false, 16});
    qkv_case({3, 1, 10, 8, false, true, true, false, 16});
    qkv_case({2, 2, 18, 10, true, false, true, false, 32});
    qkv_case({2, 1, 80, 80, false, true, false, false, 96});
}

// Property: positions and blocks outside their ranges are reported, with nothing written for them.
KERNEL_TEST(qkv_post_reports_positions_and_blocks) {
    for (int what : {MR_CUDA_FAULT_POSITION, MR_CUDA_FAULT_BLOCK}) {
        test::RaggedBatch batch({2}, {20}, 7);
        test::PagedCache cache(batch.num_blocks, 1, 64);
        Buffer<bf16> qkv(2 * 192), q_out(2 * 64);
        Buffer<float> table(20 * 32);
        Buffer<mr_cuda_fault> fault(1);
        test::Random(1).fill(qkv);
        table.fill(0.5f);
        fault[0] = {};
        if (what == MR_CUDA_FAULT_POSITION) {
            batch.positions[1] = 20;
        } else {
            batch.tables[1] = batch.num_blocks;
        }
        mr_qkv_post_params p{qkv, nullptr, nullptr, nullptr, table, table, batch.positions, batch.token_sequence, batch.tables, q_out, cache.data,
                             &batch.counts[0], fault, 1, 1, 64, 64, 0, 20, batch.max_blocks, batch.num_blocks, 64, 0, 1, 192, 64};
        emu::run(test::launch_of(dim3(2), dim3(32 * qkv_heads_per_block), 0), mr_qkv_post, p);
        CHECK(fault[0].code == what);
        CHECK(fault[0].limit == (what == MR_CUDA_FAULT_POSITION ? 20 : batch.num_blocks));
    }
}

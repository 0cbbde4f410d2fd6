#include "linear.cu"
#include "test.h"

using test::Buffer;

#define LINEAR_SHAPES(what)                                                                  \
    LAUNCH_SHAPE(mr_linear_##what##_8, linear_threads, LinearTile<1>::shared_bytes);         \
    LAUNCH_SHAPE(mr_linear_##what##_16, linear_threads, LinearTile<2>::shared_bytes);        \
    LAUNCH_SHAPE(mr_linear_##what##_32, linear_threads, LinearTile<4>::shared_bytes);        \
    LAUNCH_SHAPE(mr_linear_##what##_64, linear_threads, LinearTile<8>::shared_bytes)
LINEAR_SHAPES(store);
LINEAR_SHAPES(add);
LINEAR_SHAPES(logits);
LINEAR_SHAPES(silu);
LINEAR_SHAPES(gelu);

namespace {

using LinearKernel = void (*)(const mr_linear_params);

struct Variant {
    LinearKernel kernel;
    int tokens, row_tiles;
    size_t shared_bytes;
};

Variant variant_of(Epilogue e, int tokens) {
    static const LinearKernel kernels[5][4] = {
        {mr_linear_store_8, mr_linear_store_16, mr_linear_store_32, mr_linear_store_64},
        {mr_linear_add_8, mr_linear_add_16, mr_linear_add_32, mr_linear_add_64},
        {mr_linear_logits_8, mr_linear_logits_16, mr_linear_logits_32, mr_linear_logits_64},
        {mr_linear_silu_8, mr_linear_silu_16, mr_linear_silu_32, mr_linear_silu_64},
        {mr_linear_gelu_8, mr_linear_gelu_16, mr_linear_gelu_32, mr_linear_gelu_64},
    };
    const LinearKernel *of = kernels[static_cast<int>(e)];
    switch (tokens) {
        case 8: return {of[0], 8, 1, LinearTile<1>::shared_bytes};
        case 16: return {of[1], 16, 1, LinearTile<2>::shared_bytes};
        case 32: return {of[2], 32, 2, LinearTile<4>::shared_bytes};
        default: return {of[3], 64, 2, LinearTile<8>::shared_bytes};
    }
}

struct Linear {
    Epilogue epilogue;
    int tokens;  // of the variant
    int rows, in, out;
    bool bias = true;
    float soft_cap = 0;
};

// Returns the output as floats, checked against double precision.
std::vector<float> linear_case(const Linear &c) {
    bool gated = c.epilogue == Epilogue::silu || c.epilogue == Epilogue::gelu;
    Variant v = variant_of(c.epilogue, c.tokens);
    int weight_rows = gated ? 2 * c.out : c.out;
    Buffer<bf16> x((c.rows + 1) * c.in), weight(weight_rows * c.in), halves((c.rows + 1) * c.out);
    Buffer<float> bias(weight_rows), floats((c.rows + 1) * c.out);
    Buffer<int32_t> rows(1);
    test::Random(1).fill(x);
    test::Random(2).fill(weight, 1 / std::sqrt(static_cast<float>(c.in)));
    test::Random(3).fill(bias);
    rows[0] = c.rows;
    bool to_floats = c.epilogue == Epilogue::logits;
    std::vector<float> before((c.rows + 1) * c.out);
    if (c.epilogue == Epilogue::add) {
        test::Random(4).fill(halves);
        for (size_t i = 0; i < before.size(); i++) {
            before[i] = to_float(halves[i]);
        }
    }
    int outputs = 16 * v.row_tiles / (gated ? 2 : 1);
    // A grid for more rows than there are, as a graph's is.
    emu::Launch launch = test::launch_of(dim3((c.out + outputs - 1) / outputs, c.rows / v.tokens + 1), dim3(linear_threads), v.shared_bytes);
    launch.predecessor_writes = {{x.data(), x.bytes()}};
    emu::run(launch, v.kernel, mr_linear_params{x, weight, c.bias ? bias.data() : nullptr, to_floats ? static_cast<void *>(floats.data()) : halves.data(),
                                                rows, c.in, c.out, c.soft_cap, 0});
    std::vector<float> got(c.rows * c.out);
    test::Error error;
    for (int t = 0; t < c.rows; t++) {
        for (int n = 0; n < c.out; n++) {
            double sum = c.bias ? bias[n] : 0;
            double up = c.bias && gated ? bias[c.out + n] : 0;
            for (int k = 0; k < c.in; k++) {
                sum += static_cast<double>(to_float(x[t * c.in + k])) * to_float(weight[n * c.in + k]);
                up += gated ? static_cast<double>(to_float(x[t * c.in + k])) * to_float(weight[(c.out + n) * c.in + k]) : 0;
            }
            double wanted = sum;
            if (c.epilogue == Epilogue::add) {
                wanted += before[t * c.out + n];
            } else if (c.epilogue == Epilogue::logits && c.soft_cap > 0) {
                wanted = c.soft_cap * std::tanh(sum / c.soft_cap);
            } else if (c.epilogue == Epilogue::silu) {
                wanted = sum / (1 + std::exp(-sum)) * up;
            } else if (c.epilogue == Epilogue::gelu) {
                wanted = 0.5 * sum * (1 + std::tanh(std::sqrt(2 / M_PI) * (sum + 0.044715 * sum * sum * sum))) * up;
            }
            got[t * c.out + n] = to_floats ? static_cast<float>(floats[t * c.out + n]) : to_float(halves[t * c.out + n]);
            error.add(got[t * c.out + n], wanted);
        }
    }
    CHECK_ERROR(error, 3e-3);
    if (to_floats) {
        CHECK(float_bits(floats[c.rows * c.out]) == ~0u);
        CHECK_ERROR(error, 1e-5);
    } else {
        CHECK(c.epilogue == Epilogue::add ? to_float(halves[c.rows * c.out]) == before[c.rows * c.out] : halves[c.rows * c.out].bits == 0xffff);
    }
    return got;
}

}  // namespace

// Property: products at every edge of K (less than a window, no multiple of a window or of a turn of all warps) and N, with and without bias.
KERNEL_TEST(linear_multiplies_at_all_edges) {
    for (int in : {8, 24, 32, 40, 128, 576, 1024, 1032, 2080}) {
        linear_case({Epilogue::store, 8, 1, in, 17});
    }
    for (int out : {1, 8, 15, 16, 33, 48}) {
        linear_case({Epilogue::store, 8, 3, 136, out, false});
        linear_case({Epilogue::store, 16, 9, 136, out});
    }
}

// Property: every variant with its fewest, odd and most rows, and with more rows than one block takes.
KERNEL_TEST(linear_takes_all_row_counts) {
    for (int rows : {1, 2, 5, 8, 9}) {
        linear_case({Epilogue::store, 8, rows, 200, 24});
    }
    linear_case({Epilogue::store, 16, 16, 200, 40});
    linear_case({Epilogue::store, 32, 27, 200, 40});
    linear_case({Epilogue::store, 64, 64, 200, 40});
    linear_case({Epilogue::store, 64, 77, 200, 40});
}

// Property: what becomes of the sums: added to a residual, float logits with and without a cap, gated pairs whose halves lie apart.
KERNEL_TEST(linear_has_epilogues) {
    for (int tokens : {8, 16, 32, 64}) {
        int rows = tokens - 3;
        linear_case({Epilogue::add, tokens, rows, 136, 37});
        linear_case({Epilogue::logits, tokens, rows, 136, 37, false});
        linear_case({Epilogue::logits, tokens, rows, 136, 37, true, 2.0f});
        linear_case({Epilogue::silu, tokens, rows, 136, 21});
        linear_case({Epilogue::gelu, tokens, rows, 136, 21, false});
    }
}

// Property: a row's bits are the same in every variant and in any company.
TEST(linear_is_batch_invariant) {
    test::order = emu::Order::random;
    std::vector<float> most = linear_case({Epilogue::logits, 64, 64, 1200, 20});
    for (int tokens : {8, 16, 32}) {
        for (int rows : {1, tokens}) {
            std::vector<float> some = linear_case({Epilogue::logits, tokens, rows, 1200, 20});
            CHECK(std::memcmp(some.data(), most.data(), some.size() * sizeof(float)) == 0);
        }
    }
}

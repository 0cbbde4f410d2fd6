// Kernels that treat rows one by one: embed, norm, gate, gather, additions, caps.
#include "elementwise.cu"
#include "embed.cu"
#include "gate.cu"
#include "gather.cu"
#include "norm.cu"
#include "test.h"

using test::Buffer;
using test::launch_of;

LAUNCH_SHAPE(mr_embed, embed_threads, 0);
LAUNCH_SHAPE(mr_add_rms_norm_1, norm_threads, 32);
LAUNCH_SHAPE(mr_add_rms_norm_2, norm_threads, 32);
LAUNCH_SHAPE(mr_add_rms_norm_4, norm_threads, 32);
LAUNCH_SHAPE(mr_add_rms_norm_8, norm_threads, 32);
LAUNCH_SHAPE(mr_silu_mul, gate_threads, 0);
LAUNCH_SHAPE(mr_gelu_mul, gate_threads, 0);
LAUNCH_SHAPE(mr_gather_rows, gather_threads, 0);
LAUNCH_SHAPE(mr_add, elementwise_threads, 0);
LAUNCH_SHAPE(mr_soft_cap, elementwise_threads, 0);

// Property: rows of the table, scaled, by id or by what the step before drew; rows past the count stay as they are.
KERNEL_TEST(embed_takes_ids_and_drawn_tokens) {
    for (int hidden : {8, 576, 1032}) {
        for (float scale : {1.0f, 24.0f}) {
            Buffer<bf16> table(50 * hidden);
            Buffer<bf16> out(5 * hidden);
            Buffer<int32_t> ids(5), source(5), previous(2), rows(1);
            Buffer<mr_cuda_fault> fault(1);
            test::Random(3).fill(table);
            fault[0] = {};
            const int32_t wanted[] = {49, 0, 7, 13};
            ids[0] = 49, ids[1] = 0, ids[2] = -1, ids[3] = 13;
            source[0] = -1, source[1] = -1, source[2] = 1, source[3] = -1;
            previous[0] = 20, previous[1] = 7;
            rows[0] = 4;
            mr_embed_params p{table, ids, source, previous, out, rows, fault, 50, hidden, scale, 2};
            emu::run(launch_of(dim3(5), dim3(embed_threads), 0), mr_embed, p);
            for (int t = 0; t < 4; t++) {
                for (int c = 0; c < hidden; c++) {
                    CHECK(out[t * hidden + c].bits == to_bf16(to_float(table[wanted[t] * hidden + c]) * scale).bits);
                }
            }
            CHECK(out[4 * hidden].bits == 0xffff);
            CHECK(fault[0].code == 0);
        }
    }
}

// Property: an id outside the vocabulary is reported with its row, value and limit, and nothing is read for it.
KERNEL_TEST(embed_reports_ids_outside_the_vocabulary) {
    for (int bad : {-1, 50}) {
        Buffer<bf16> table(50 * 8), out(3 * 8);
        Buffer<int32_t> ids(3), source(3), rows(1);
        Buffer<mr_cuda_fault> fault(1);
        test::Random(3).fill(table);
        fault[0] = {};
        ids[0] = 1, ids[1] = bad, ids[2] = 2;
        source.fill(-1);
        rows[0] = 3;
        mr_embed_params p{table, ids, source, nullptr, out, rows, fault, 50, 8, 1, 0};
        emu::run(launch_of(dim3(3), dim3(embed_threads), 0), mr_embed, p);
        CHECK(fault[0].code == MR_CUDA_FAULT_TOKEN_ID && fault[0].row == 1 && fault[0].value == bad && fault[0].limit == 50);
        CHECK(out[16].bits == table[16].bits);
    }
}

namespace {

// `filled` columns at the end are zeros that only fill the rows up.
void norm_case(int cols, void (*kernel)(const mr_add_rms_norm_params), bool with_delta, bool out_is_delta, float spike, int filled = 0) {
    const int count = 3;
    int width = cols - filled;
    Buffer<bf16> residual(4 * cols), delta(4 * cols), own(4 * cols);
    Buffer<float> weight(cols);
    Buffer<int32_t> rows(1);
    test::Random random(cols);
    random.fill(residual);
    random.fill(delta);
    random.fill(weight, 0.3f, 1);
    residual[cols + cols / 2] = to_bf16(spike);
    for (int i = 0; i < 4 * cols; i++) {
        if (i % cols >= width) {
            residual[i] = delta[i] = to_bf16(0);
            weight[i % cols] = 0;
        }
    }
    rows[0] = count;
    std::vector<bf16> x(residual.data(), residual.data() + 4 * cols), d(delta.data(), delta.data() + 4 * cols);
    bf16 *out = out_is_delta ? delta.data() : own.data();
    float eps = 1e-5f;
    emu::Launch launch = launch_of(dim3(4), dim3(norm_threads), 32);
    launch.predecessor_writes = {{delta.data(), delta.bytes()}, {residual.data(), residual.bytes()}};
    emu::run(launch, kernel, mr_add_rms_norm_params{residual, with_delta ? delta.data() : nullptr, weight, out, rows, cols, eps, width, 0});
    test::Error error;
    for (int t = 0; t < count; t++) {
        double squares = 0;
        for (int c = 0; c < cols; c++) {
            float sum = to_float(x[t * cols + c]) + (with_delta ? to_float(d[t * cols + c]) : 0);
            CHECK(residual[t * cols + c].bits == to_bf16(sum).bits);
            squares += static_cast<double>(to_float(to_bf16(sum))) * to_float(to_bf16(sum));
        }
        for (int c = 0; c < cols; c++) {
            error.add(to_float(out[t * cols + c]), to_float(residual[t * cols + c]) / std::sqrt(squares / width + eps) * weight[c]);
        }
    }
    CHECK_ERROR(error, 3e-3);
    CHECK(residual[count * cols].bits == x[count * cols].bits);
    CHECK(out_is_delta || own[count * cols].bits == 0xffff);
}

}  // namespace

// Property: x += delta to the bit; then the norm of the rounded sum, for every variant at its edge widths, with a spike, in place.
KERNEL_TEST(norm_adds_and_normalises) {
    norm_case(8, mr_add_rms_norm_1, true, false, 300);
    norm_case(576, mr_add_rms_norm_1, true, true, 3);
    norm_case(2048, mr_add_rms_norm_1, false, false, 3);
    norm_case(2056, mr_add_rms_norm_2, true, false, 3);
    norm_case(4096, mr_add_rms_norm_2, true, true, 3000);
    norm_case(5120, mr_add_rms_norm_4, true, false, 3);
    norm_case(8192, mr_add_rms_norm_4, false, false, 3);
    norm_case(16384, mr_add_rms_norm_8, true, true, 3);
    norm_case(8, mr_add_rms_norm_1, true, false, 3, 5);
    norm_case(2056, mr_add_rms_norm_2, false, false, 3, 7);
}

// Property: silu(gate) * up and gelu(gate) * up, also where the activation is near its ends.
KERNEL_TEST(gate_multiplies) {
    for (int cols : {8, 2048, 2056, 5640, 1, 13, 172, 2049}) {
        int stride = (cols + 7) / 8 * 8;
        int gate_up_stride = (2 * cols + 7) / 8 * 8;
        for (bool gelu : {false, true}) {
            Buffer<bf16> gate_up(3 * gate_up_stride), out(3 * stride);
            Buffer<int32_t> rows(1);
            test::Random(5).fill(gate_up, 2);
            gate_up[0] = to_bf16(60);
            gate_up[1] = to_bf16(-60);
            gate_up[2] = to_bf16(-9);
            rows[0] = 2;
            mr_gate_params p{gate_up, out, rows, cols, gate_up_stride, stride, 0};
            emu::run(launch_of(dim3(3, (stride + 2047) / 2048), dim3(gate_threads), 0), gelu ? mr_gelu_mul : mr_silu_mul, p);
            test::Error error;
            for (int t = 0; t < 2; t++) {
                for (int c = 0; c < cols; c++) {
                    double g = to_float(gate_up[t * gate_up_stride + c]);
                    double a = gelu ? 0.5 * g * (1 + std::tanh(std::sqrt(2 / M_PI) * (g + 0.044715 * g * g * g))) : g / (1 + std::exp(-g));
                    error.add(to_float(out[t * stride + c]), a * to_float(gate_up[t * gate_up_stride + cols + c]));
                }
                for (int c = cols; c < stride; c++) {
                    CHECK(out[t * stride + c].bits << 1 == 0);
                }
            }
            CHECK_ERROR(error, 3e-3);
            CHECK(out[2 * stride].bits == 0xffff);
        }
    }
}

// Property: one float addition rounded once, in as many rows as the step has.
KERNEL_TEST(add_rounds_once) {
    for (int cols : {8, 2048, 2056}) {
        Buffer<bf16> residual(3 * cols), delta(3 * cols);
        Buffer<int32_t> rows(1);
        test::Random(5).fill(residual);
        test::Random(6).fill(delta);
        rows[0] = 2;
        std::vector<bf16> before(residual.data(), residual.data() + 3 * cols);
        emu::Launch launch = launch_of(dim3(3, (cols + 2047) / 2048), dim3(elementwise_threads), 0);
        launch.predecessor_writes = {{delta.data(), delta.bytes()}};
        emu::run(launch, mr_add, mr_add_params{residual, delta, rows, cols, 0});
        for (int i = 0; i < 3 * cols; i++) {
            CHECK(residual[i].bits == (i < 2 * cols ? to_bf16(to_float(before[i]) + to_float(delta[i])) : before[i]).bits);
        }
    }
}

// Property: caps of any size, small values to the last bits, no overflow; rows past the count stay.
KERNEL_TEST(soft_cap_keeps_small_values) {
    for (int cols : {1, 1024, 1027}) {
        for (float cap : {0.5f, 30.0f}) {
            Buffer<float> x(3 * cols);
            Buffer<int32_t> rows(1);
            test::Random(5).fill(x, 40);
            x[0] = 1e30f;
            x[cols] = -1e-20f;
            rows[0] = 2;
            std::vector<float> before(x.data(), x.data() + 3 * cols);
            emu::run(launch_of(dim3(3, (cols + 1023) / 1024), dim3(elementwise_threads), 0), mr_soft_cap, mr_soft_cap_params{x, rows, cols, cap});
            for (int i = 0; i < 3 * cols; i++) {
                double wanted = i < 2 * cols ? cap * std::tanh(static_cast<double>(before[i]) / cap) : before[i];
                CHECK(std::abs(x[i] - wanted) <= 5e-7 * std::abs(wanted));
            }
        }
    }
}

// Property: the wanted rows, bit for bit, in their order.
KERNEL_TEST(gather_picks_rows) {
    for (int cols : {8, 1024, 1032}) {
        Buffer<bf16> x(6 * cols), out(4 * cols);
        Buffer<int32_t> wanted(4), rows(1);
        test::Random(5).fill(x);
        wanted[0] = 5, wanted[1] = 0, wanted[2] = 5, wanted[3] = 1;
        rows[0] = 3;
        emu::run(launch_of(dim3(4), dim3(gather_threads), 0), mr_gather_rows, mr_gather_params{x, wanted, out, rows, cols, 0});
        for (int r = 0; r < 3; r++) {
            CHECK(std::memcmp(&out[r * cols], &x[wanted[r] * cols], cols * sizeof(bf16)) == 0);
        }
        CHECK(out[3 * cols].bits == 0xffff);
    }
}

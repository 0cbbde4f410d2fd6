// A stub libcublasLt over the stub libcuda: matrix products of bfloat16, in plain C, summed in float in the order of k. It offers three
// algorithms: a slow one first, a fast one, and one that wants 48 MiB of workspace.
#include <chrono>
#include <cstring>
#include <thread>

#include "../cuda_api.h"

namespace {

enum Status { success = 0, not_initialized = 1, allocation_failed = 3, invalid_value = 7, execution_failed = 13, not_supported = 15 };
enum Type { real_32f = 0, real_16bf = 14 };

constexpr uint32_t algorithm_magic = 0x4d524c54;
constexpr size_t large_workspace = 48 << 20;
constexpr int slow_micros = 300;

struct Desc {
    int compute = 0;
    int scale = 0;
    int transpose_a = 0;
    int transpose_b = 0;
    int epilogue = 1;
    const void *bias = nullptr;
};
struct Layout {
    int type;
    uint64_t rows;
    uint64_t cols;
    int64_t ld;
};
struct Preference {
    uint64_t max_workspace = 0;
};
struct Algorithm {
    uint32_t magic;
    uint32_t number;
    unsigned char rest[56];
};
struct Result {
    Algorithm algorithm;
    size_t workspace;
    int status;
    float waves;
    int reserved[4];
};
static_assert(sizeof(Algorithm) == 64 && sizeof(Result) == 96 && offsetof(Result, workspace) == 64 && offsetof(Result, status) == 72, "layout");

struct Product {
    Desc desc;
    Layout a, b, c, d;
    const void *a_data, *b_data, *c_data;
    void *d_data;
    float alpha, beta;
    uint32_t algorithm;
};

size_t element_bytes(int type) { return type == real_32f ? 4 : 2; }
size_t bytes_of(const Layout &l) { return (static_cast<size_t>(l.ld) * (l.cols - 1) + l.rows) * element_bytes(l.type); }

float load(const void *data, int type, size_t i) {
    if (type == real_32f) {
        return static_cast<const float *>(data)[i];
    }
    uint32_t bits = uint32_t{static_cast<const uint16_t *>(data)[i]} << 16;
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

void store(void *data, int type, size_t i, float x) {
    if (type == real_32f) {
        static_cast<float *>(data)[i] = x;
        return;
    }
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    static_cast<uint16_t *>(data)[i] = static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fff : (bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

void multiply(const void *data) {
    Product p;
    std::memcpy(&p, data, sizeof p);
    if (p.algorithm == 0) {
        std::this_thread::sleep_for(std::chrono::microseconds(slow_micros));
    }
    size_t depth = p.desc.transpose_a ? p.a.rows : p.a.cols;
    for (size_t col = 0; col < p.d.cols; col++) {
        for (size_t row = 0; row < p.d.rows; row++) {
            float sum = 0;
            for (size_t k = 0; k < depth; k++) {
                size_t a = p.desc.transpose_a ? k + row * p.a.ld : row + k * p.a.ld;
                size_t b = p.desc.transpose_b ? col + k * p.b.ld : k + col * p.b.ld;
                sum += load(p.a_data, p.a.type, a) * load(p.b_data, p.b.type, b);
            }
            sum *= p.alpha;
            if (p.beta != 0) {
                sum += p.beta * load(p.c_data, p.c.type, row + col * p.c.ld);
            }
            if (p.desc.epilogue == 4) {
                sum += load(p.desc.bias, p.d.type, row);
            }
            store(p.d_data, p.d.type, row + col * p.d.ld, sum);
        }
    }
}

bool fits(const Desc &desc, const Layout &a, const Layout &b, const Layout &c, const Layout &d) {
    uint64_t m = desc.transpose_a ? a.cols : a.rows;
    uint64_t k = desc.transpose_a ? a.rows : a.cols;
    uint64_t n = desc.transpose_b ? b.rows : b.cols;
    return desc.compute == 68 && desc.scale == real_32f && k == (desc.transpose_b ? b.cols : b.rows) && d.rows == m && d.cols == n && c.rows == m
            && c.cols == n && a.type == real_16bf && b.type == real_16bf && c.type == d.type && (desc.epilogue == 1 || desc.epilogue == 4);
}

size_t workspace_of(uint32_t number) { return number == 2 ? large_workspace : 0; }

Result result_of(uint32_t number) {
    Result r = {};
    r.algorithm.magic = algorithm_magic;
    r.algorithm.number = number;
    r.workspace = workspace_of(number);
    r.waves = 1;
    return r;
}

template <class T>
int create(T **out, const T &value) {
    *out = new T(value);
    return success;
}
template <class T>
int destroy(T *object) {
    delete object;
    return success;
}

int handle_word = 1;

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

int cublasLtCreate(void **handle) {
    *handle = &handle_word;
    return success;
}
int cublasLtDestroy(void *handle) { return handle == &handle_word ? success : not_initialized; }
size_t cublasLtGetVersion() { return 130002; }

int cublasLtMatmulDescCreate(Desc **desc, int compute, int scale) {
    Desc d;
    d.compute = compute;
    d.scale = scale;
    return create(desc, d);
}
int cublasLtMatmulDescDestroy(Desc *desc) { return destroy(desc); }
int cublasLtMatmulDescSetAttribute(Desc *desc, int attribute, const void *value, size_t bytes) {
    void *field = nullptr;
    size_t size = 4;
    switch (attribute) {
        case 3: field = &desc->transpose_a; break;
        case 4: field = &desc->transpose_b; break;
        case 7: field = &desc->epilogue; break;
        case 8: field = &desc->bias; size = 8; break;
        default: return invalid_value;
    }
    if (bytes != size) {
        return invalid_value;
    }
    std::memcpy(field, value, size);
    return success;
}

int cublasLtMatrixLayoutCreate(Layout **layout, int type, uint64_t rows, uint64_t cols, int64_t ld) {
    return ld < static_cast<int64_t>(rows) ? static_cast<int>(invalid_value) : create(layout, Layout{type, rows, cols, ld});
}
int cublasLtMatrixLayoutDestroy(Layout *layout) { return destroy(layout); }

int cublasLtMatmulPreferenceCreate(Preference **preference) { return create(preference, Preference{}); }
int cublasLtMatmulPreferenceDestroy(Preference *preference) { return destroy(preference); }
int cublasLtMatmulPreferenceSetAttribute(Preference *preference, int attribute, const void *value, size_t bytes) {
    if (attribute != 1 || bytes != 8) {
        return invalid_value;
    }
    std::memcpy(&preference->max_workspace, value, 8);
    return success;
}

int cublasLtMatmulAlgoGetHeuristic(void *handle, const Desc *desc, const Layout *a, const Layout *b, const Layout *c, const Layout *d,
        const Preference *preference, int wanted, Result *results, int *found) {
    if (handle != &handle_word) {
        return not_initialized;
    }
    *found = 0;
    if (!fits(*desc, *a, *b, *c, *d)) {
        return not_supported;
    }
    for (uint32_t number = 0; number < 3 && *found < wanted; number++) {
        if (workspace_of(number) <= preference->max_workspace) {
            results[(*found)++] = result_of(number);
        }
    }
    return success;
}

int cublasLtMatmulAlgoCheck(void *handle, const Desc *desc, const Layout *a, const Layout *b, const Layout *c, const Layout *d,
        const Algorithm *algorithm, Result *result) {
    if (handle != &handle_word) {
        return not_initialized;
    }
    if (algorithm->magic != algorithm_magic || algorithm->number > 2 || !fits(*desc, *a, *b, *c, *d)) {
        return invalid_value;
    }
    *result = result_of(algorithm->number);
    return success;
}

int cublasLtMatmul(void *handle, const Desc *desc, const float *alpha, const void *a, const Layout *a_layout, const void *b, const Layout *b_layout,
        const float *beta, const void *c, const Layout *c_layout, void *d, const Layout *d_layout, const Algorithm *algorithm, void *workspace,
        size_t workspace_bytes, CUstream stream) {
    if (handle != &handle_word) {
        return not_initialized;
    }
    if (!fits(*desc, *a_layout, *b_layout, *c_layout, *d_layout) || algorithm == nullptr || algorithm->magic != algorithm_magic
        || workspace_of(algorithm->number) > workspace_bytes || !mr_stub_on_device(a, bytes_of(*a_layout)) || !mr_stub_on_device(b, bytes_of(*b_layout))
        || !mr_stub_on_device(c, bytes_of(*c_layout)) || !mr_stub_on_device(d, bytes_of(*d_layout))
        || (workspace_bytes > 0 && !mr_stub_on_device(workspace, workspace_bytes))
        || (desc->epilogue == 4 && !mr_stub_on_device(desc->bias, d_layout->rows * element_bytes(d_layout->type)))) {
        return invalid_value;
    }
    Product p = {*desc, *a_layout, *b_layout, *c_layout, *d_layout, a, b, c, d, *alpha, *beta, algorithm->number};
    return mr_stub_enqueue(stream, multiply, &p, sizeof p) == CUDA_SUCCESS ? success : execution_failed;
}
}
#pragma GCC visibility pop

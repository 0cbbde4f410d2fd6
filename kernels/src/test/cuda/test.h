// A small test harness: cases that register themselves, guarded buffers, error measures.
#pragma once
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <new>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "tile.h"

namespace test {

struct Case {
    std::string name;
    std::function<void()> body;
};

inline std::vector<Case> &cases() {
    static std::vector<Case> all;
    return all;
}

// Of the present run: kernel cases run once per fiber order.
inline thread_local emu::Order order = emu::Order::forward;
inline thread_local std::string overrun;  // what a buffer's guard saw; set by destructors, which cannot throw

inline bool add(const char *name, void (*body)()) {
    cases().push_back({name, body});
    return true;
}

inline bool add_in_all_orders(const char *name, void (*body)()) {
    static const char *const names[] = {"forward", "reverse", "random"};
    for (int o = 0; o < 3; o++) {
        cases().push_back({std::string(name) + " [" + names[o] + "]", [o, body] {
            order = static_cast<emu::Order>(o);
            body();
        }});
    }
    return true;
}

// The comment above a case says which property it guards.
#define TEST(name)                                                \
    static void name();                                           \
    static const bool name##_added = test::add(#name, name);      \
    static void name()
#define KERNEL_TEST(name)                                                   \
    static void name();                                                     \
    static const bool name##_added = test::add_in_all_orders(#name, name);  \
    static void name()

// What a kernel is launched with, for the table of budgets to be compared with.
struct LaunchShape {
    std::string kernel;
    int threads;
    size_t shared_bytes;
};
inline std::vector<LaunchShape> &launch_shapes() {
    static std::vector<LaunchShape> all;
    return all;
}
inline bool shape(const char *kernel, int threads, size_t shared_bytes) {
    launch_shapes().push_back({kernel, threads, shared_bytes});
    return true;
}
#define LAUNCH_SHAPE(kernel, threads, shared_bytes) static const bool kernel##_shape = test::shape(#kernel, threads, shared_bytes)

inline void check(bool condition, const std::string &message, const char *file, int line) {
    if (!condition) {
        throw std::runtime_error(std::string(file) + ":" + std::to_string(line) + ": " + message);
    }
}
#define CHECK(condition) test::check((condition), #condition, __FILE__, __LINE__)
#define CHECK_MESSAGE(condition, message) test::check((condition), (message), __FILE__, __LINE__)

// Global memory of a kernel: known to the emulator, filled with NaNs, with guards on both sides that must stay as they are.
template <class T>
class Buffer {
  public:
    explicit Buffer(size_t count) : count_(count) {
#if defined(__SANITIZE_ADDRESS__)
        constexpr size_t guard = 0;  // the sanitizer guards to the byte
#else
        constexpr size_t guard = guard_bytes;
#endif
        guard_ = guard;
        block_ = static_cast<unsigned char *>(std::aligned_alloc(256, (2 * guard + count * sizeof(T) + 255) / 256 * 256));
        size_t total = (2 * guard + count * sizeof(T) + 255) / 256 * 256;
#if defined(__SANITIZE_ADDRESS__)
        __asan_poison_memory_region(block_ + count * sizeof(T), total - count * sizeof(T));
        std::memset(block_, 0xFF, count * sizeof(T));
#else
        std::memset(block_, 0xA5, total);
        std::memset(block_ + guard, 0xFF, count * sizeof(T));
#endif
        total_ = total;
        emu::global_memory.add(data(), bytes());
    }
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;
    ~Buffer() {
        emu::global_memory.remove(data());
#if defined(__SANITIZE_ADDRESS__)
        __asan_unpoison_memory_region(block_, total_);
#else
        for (size_t i = 0; i < total_; i++) {
            if ((i < guard_ || i >= guard_ + bytes()) && block_[i] != 0xA5) {
                overrun = "a buffer of " + std::to_string(bytes()) + " bytes was written at offset "
                        + std::to_string(static_cast<long>(i) - static_cast<long>(guard_));
                break;
            }
        }
#endif
        std::free(block_);
    }

    T *data() { return reinterpret_cast<T *>(block_ + guard_); }
    const T *data() const { return reinterpret_cast<const T *>(block_ + guard_); }
    operator T *() { return data(); }
    T &operator[](size_t i) { return data()[i]; }
    const T &operator[](size_t i) const { return data()[i]; }
    size_t size() const { return count_; }
    size_t bytes() const { return count_ * sizeof(T); }
    void poison() { std::memset(static_cast<void *>(data()), 0xFF, bytes()); }
    void fill(T value) {
        for (size_t i = 0; i < count_; i++) {
            data()[i] = value;
        }
    }

  private:
    static constexpr size_t guard_bytes = 256;
    size_t count_;
    size_t guard_;
    size_t total_;
    unsigned char *block_;
};

class Random {
  public:
    explicit Random(uint32_t seed) : engine_(seed) {}
    float normal(float scale = 1) { return scale * normal_(engine_); }
    int below(int n) { return static_cast<int>(engine_() % static_cast<uint32_t>(n)); }
    void fill(Buffer<bf16> &b, float scale = 1) {
        for (size_t i = 0; i < b.size(); i++) {
            b[i] = to_bf16(normal(scale));
        }
    }
    void fill(Buffer<float> &b, float scale = 1, float mean = 0) {
        for (size_t i = 0; i < b.size(); i++) {
            b[i] = mean + normal(scale);
        }
    }
    std::mt19937 &engine() { return engine_; }

  private:
    std::mt19937 engine_;
    std::normal_distribution<float> normal_;
};

// Relative Frobenius error; a NaN anywhere makes it a NaN, which no threshold passes.
class Error {
  public:
    void add(double got, double wanted) {
        difference_ += (got - wanted) * (got - wanted);
        size_ += wanted * wanted;
    }
    double relative() const { return std::sqrt(difference_ / size_); }
    bool below(double threshold) const { return relative() <= threshold; }

  private:
    double difference_ = 0;
    double size_ = 0;
};
#define CHECK_ERROR(error, threshold) \
    CHECK_MESSAGE((error).below(threshold), "relative error " + std::to_string((error).relative()) + " is above " #threshold)

inline emu::Launch launch_of(dim3 grid, dim3 block, size_t shared_bytes, unsigned resident = 1) {
    emu::Launch l;
    l.grid = grid;
    l.block = block;
    l.shared_bytes = shared_bytes;
    l.order = order;
    l.resident = resident;
    return l;
}

}  // namespace test

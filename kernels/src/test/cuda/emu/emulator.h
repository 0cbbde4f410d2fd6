// The tile API (src/main/cuda/tile.h) on the host: what the device does in PTX, the emulator does here, under the same names.
#pragma once
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>

#include "millrace_cuda.h"
#include "warp.h"

#define __device__
#define __host__
#define __global__
#define __forceinline__ inline __attribute__((always_inline))
#define TILE inline
#define __restrict__ __restrict
#define KERNEL(threads, blocks_per_sm) static void
#define PARAMS(type) const type
#define SHARED_MEMORY(name) emu::Shared<unsigned char> name(0)

#define threadIdx (emu::current->tid)
#define blockIdx (emu::current->block->index)
#define blockDim (emu::machine.launch->block)
#define gridDim (emu::machine.launch->grid)

using bf16 = mr_bf16;
template <class T>
using smem = emu::Shared<T>;

template <class T>
inline smem<T> shared_at(smem<unsigned char> base, size_t byte_offset) {
    return smem<T>(base.offset() + byte_offset);
}

template <class T, class U>
inline smem<T> shared_as(smem<U> p) {
    return smem<T>(p.offset());
}

using std::max;
using std::min;

// --- numbers

inline uint32_t float_bits(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}
inline float bits_float(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}
inline float to_float(bf16 x) { return bits_float(uint32_t{x.bits} << 16); }
inline bf16 to_bf16(float x) {
    uint32_t bits = float_bits(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return {0x7fff};  // the device's NaN
    }
    return {static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16)};
}
inline uint32_t pack_bf16(float low, float high) { return to_bf16(low).bits | uint32_t{to_bf16(high).bits} << 16; }
inline float low_half(uint32_t pair) { return emu::bf16_half(pair, 0); }
inline float high_half(uint32_t pair) { return emu::bf16_half(pair, 1); }
inline float exp2_fast(float x) { return std::exp2(x); }
inline int popcount(uint32_t x) { return __builtin_popcount(x); }
inline int lowest_bit(uint32_t x) { return __builtin_ctz(x); }
inline int highest_bit(uint32_t x) { return 31 - __builtin_clz(x); }
inline float rounded_product(float a, float b) { return a * b; }
inline float rounded_sum(float a, float b) { return a + b; }

// --- global memory

inline uint4 load16(const void *p, emu::Site site = emu::Site::here()) {
    emu::global_memory.check(p, 16, site);
    uint4 v;
    std::memcpy(&v, p, 16);
    return v;
}
inline uint4 load16_once(const void *p, emu::Site site = emu::Site::here()) { return load16(p, site); }
inline uint32_t load4(const void *p, emu::Site site = emu::Site::here()) {
    emu::global_memory.check(p, 4, site);
    uint32_t v;
    std::memcpy(&v, p, 4);
    return v;
}
inline float load_l2(const float *p, emu::Site site = emu::Site::here()) {
    emu::global_memory.check(p, 4, site);
    return *p;
}
inline void store16(void *p, uint4 v, emu::Site site = emu::Site::here()) {
    emu::global_memory.check(p, 16, site);
    std::memcpy(p, &v, 16);
}
inline void store4(void *p, uint32_t v, emu::Site site = emu::Site::here()) {
    emu::global_memory.check(p, 4, site);
    std::memcpy(p, &v, 4);
}

// Others come between before each atomic, so that no result may lean on an order.
template <class T>
inline T atomic_add(T *p, T v) {
    emu::machine.yield();
    T old = *p;
    *p = old + v;
    return old;
}
template <class T>
inline T atomic_or(T *p, T v) {
    emu::machine.yield();
    T old = *p;
    *p = old | v;
    return old;
}
template <class T>
inline T atomic_exchange(T *p, T v) {
    emu::machine.yield();
    T old = *p;
    *p = v;
    return old;
}
template <class T>
inline T atomic_cas(T *p, T expected, T v) {
    emu::machine.yield();
    T old = *p;
    *p = old == expected ? v : old;
    return old;
}
inline int load_acquire(const int *p) {
    emu::machine.yield();
    return *p;
}
inline void fence() {}
inline void schedule_fence() {}

// --- shared memory

template <class T>
inline T atomic_add(smem<T> p, T v, emu::Site site = emu::Site::here()) {
    size_t at = emu::checked(p.offset(), sizeof(T), sizeof(T), site);
    emu::current->block->shadow.atomic(at, sizeof(T), emu::accessor(), site);
    T old;
    unsigned char *memory = emu::current->block->shared + at;
    std::memcpy(&old, memory, sizeof(T));
    T sum = old + v;
    std::memcpy(memory, &sum, sizeof(T));
    return old;
}
template <class T>
inline uint4 load16_shared(smem<T> p, emu::Site site = emu::Site::here()) {
    size_t at = emu::checked(p.offset(), 16, 16, site);
    emu::current->block->shadow.read(at, 16, emu::accessor(), site);
    uint4 v;
    std::memcpy(&v, emu::current->block->shared + at, 16);
    return v;
}
template <class T>
inline void store16_shared(smem<T> p, uint4 v, emu::Site site = emu::Site::here()) {
    size_t at = emu::checked(p.offset(), 16, 16, site);
    emu::current->block->shadow.write(at, 16, emu::accessor(), site);
    std::memcpy(emu::current->block->shared + at, &v, 16);
}

inline void cp_async16(smem<bf16> to, const void *from, emu::Site site = emu::Site::here()) { emu::start_copy(to.offset(), from, 16, site); }
inline void cp_async16_or_zero(smem<bf16> to, const void *from, bool valid, emu::Site site = emu::Site::here()) {
    emu::start_copy(to.offset(), valid ? from : nullptr, 16, site);
}
inline void cp_async_commit() { emu::commit_copies(); }
template <int pending>
inline void cp_async_wait() {
    emu::land_copies(pending);
}

// --- block, warp

inline void sync_block(emu::Site site = emu::Site::here()) { emu::machine.barrier(site); }
inline void sync_warp(emu::Site site = emu::Site::here()) { emu::machine.collective("sync_warp", nullptr, emu::resolve_sync, site); }
inline int lane_id() { return emu::current->lane; }

template <class T>
inline T shuffle(T value, int source, emu::Site site = emu::Site::here()) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move registers, one or two");
    emu::ShuffleLane lane{0, static_cast<unsigned>(source), 0};
    std::memcpy(&lane.value, &value, sizeof(T));
    emu::machine.collective("shuffle", &lane, emu::resolve_shuffle, site);
    std::memcpy(&value, &lane.result, sizeof(T));
    return value;
}
template <class T>
inline T shuffle_xor(T value, int mask, emu::Site site = emu::Site::here()) {
    return shuffle(value, emu::current->lane ^ mask, site);
}
// From the lane `by` below; a lane that has none keeps its own.
template <class T>
inline T shuffle_up(T value, int by, emu::Site site = emu::Site::here()) {
    int lane = emu::current->lane;
    return shuffle(value, lane < by ? lane : lane - by, site);
}
inline uint32_t vote(bool value, emu::Site site = emu::Site::here()) {
    emu::VoteLane lane{value, 0};
    emu::machine.collective("ballot", &lane, emu::resolve_ballot, site);
    return lane.result;
}

// --- tensor cores

inline void mma_16816(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, emu::Site site = emu::Site::here()) {
    emu::MmaLane lane{c, a, {b0, b1}};
    emu::machine.collective("mma", &lane, emu::resolve_mma, site);
}
inline void ldsm4(uint32_t (&r)[4], smem<const bf16> row, emu::Site site = emu::Site::here()) {
    emu::LdmatrixLane lane{row.offset(), r, false, site};
    emu::machine.collective("ldmatrix", &lane, emu::resolve_ldmatrix, site);
}
inline void ldsm4_transposed(uint32_t (&r)[4], smem<const bf16> row, emu::Site site = emu::Site::here()) {
    emu::LdmatrixLane lane{row.offset(), r, true, site};
    emu::machine.collective("ldmatrix.trans", &lane, emu::resolve_ldmatrix, site);
}
inline uint32_t transpose8(uint32_t pair, emu::Site site = emu::Site::here()) {
    emu::TransposeLane lane{pair, 0};
    emu::machine.collective("movmatrix", &lane, emu::resolve_transpose, site);
    return lane.result;
}

// --- programmatic dependent launch

inline void pdl_wait(emu::Site site = emu::Site::here()) { emu::machine.pdl_wait(site); }
inline void pdl_trigger() {}

namespace emu {

// Runs kernel(params) over the grid; throws Fault.
template <class P>
inline void run(const Launch &launch, void (*kernel)(const P), const P &params) {
    machine.run(launch, [&] { kernel(params); });
}

}  // namespace emu

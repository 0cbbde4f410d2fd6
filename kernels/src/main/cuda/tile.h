// The tile API: all PTX of the kernels, and nothing else that a host compiler cannot read. Under nvcc it is inline PTX; any other compiler
// gets the emulator's functions of the same names (src/test/cuda/emu/emulator.h), so the very same kernel sources run in both places.
//
// Rules that let the emulator check what it runs:
//   - Shared memory is dynamic, declared once per kernel with SHARED_MEMORY, and reached through smem<T> only.
//   - Warps stay whole: every collective is called by all 32 lanes, from the same line.
//   - sync_warp() is what orders shared memory between lanes; a shuffle, a vote or an mma does not.
//   - No spinning between blocks but through load_acquire().
//   - A kernel calls pdl_wait() before it touches anything that another kernel of the step writes, and pdl_trigger() after that.
#pragma once
#include <stdint.h>

#ifndef __CUDACC__
#include "emulator.h"
#else
#include "millrace_cuda.h"

using bf16 = mr_bf16;
// A pointer into shared memory.
template <class T>
using smem = T *;

#define KERNEL(threads, blocks_per_sm) extern "C" __global__ void __launch_bounds__(threads, blocks_per_sm)
#define PARAMS(type) const __grid_constant__ type
#define SHARED_MEMORY(name) extern __shared__ __align__(128) unsigned char name[]
#define TILE __device__ __forceinline__

template <class T>
TILE smem<T> shared_at(unsigned char *base, size_t byte_offset) {
    return reinterpret_cast<T *>(base + byte_offset);
}

// The same place as elements of another type.
template <class T, class U>
TILE smem<T> shared_as(U *p) {
    return reinterpret_cast<T *>(p);
}

TILE uint32_t shared_address(const void *p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

// --- numbers

TILE uint32_t float_bits(float x) { return __float_as_uint(x); }
TILE float bits_float(uint32_t bits) { return __uint_as_float(bits); }
TILE float to_float(bf16 x) { return __uint_as_float(static_cast<uint32_t>(x.bits) << 16); }
// Two floats, each rounded to the nearest even bfloat16, in one register.
TILE uint32_t pack_bf16(float low, float high) {
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}
TILE bf16 to_bf16(float x) {
    uint16_t bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return {bits};
}
TILE float low_half(uint32_t pair) { return __uint_as_float(pair << 16); }
TILE float high_half(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }
// 2^x, to 2 units in the last place; -inf gives 0.
TILE float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
TILE int popcount(uint32_t x) { return __popc(x); }
TILE int lowest_bit(uint32_t x) { return __ffs(static_cast<int>(x)) - 1; }
TILE int highest_bit(uint32_t x) { return 31 - __clz(static_cast<int>(x)); }
// One rounding each: never fused with what comes before or after.
TILE float rounded_product(float a, float b) { return __fmul_rn(a, b); }
TILE float rounded_sum(float a, float b) { return __fadd_rn(a, b); }

// --- global memory

TILE uint4 load16(const void *p) { return *static_cast<const uint4 *>(p); }
// Read-only data of which every byte is read once per step, like weights: kept out of L1.
TILE uint4 load16_once(const void *p) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
    return v;
}
TILE uint32_t load4(const void *p) { return *static_cast<const uint32_t *>(p); }
// Past L1, for what other blocks of the same launch have written.
TILE float load_l2(const float *p) { return __ldcg(p); }
TILE void store16(void *p, uint4 v) { *static_cast<uint4 *>(p) = v; }
TILE void store4(void *p, uint32_t v) { *static_cast<uint32_t *>(p) = v; }

TILE int32_t atomic_add(int32_t *p, int32_t v) { return atomicAdd(p, v); }
TILE int32_t atomic_or(int32_t *p, int32_t v) { return atomicOr(p, v); }
TILE int32_t atomic_exchange(int32_t *p, int32_t v) { return atomicExch(p, v); }
TILE int32_t atomic_cas(int32_t *p, int32_t expected, int32_t v) { return atomicCAS(p, expected, v); }
TILE int load_acquire(const int *p) {
    int v;
    asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
    return v;
}
// Orders this thread's global accesses before it with those after it, for all blocks.
TILE void fence() { __threadfence(); }

// Keeps the compiler, ptxas included, from moving loads of one turn of a loop into another, and so from holding more of them than there are
// registers. Orders nothing that a kernel may lean on.
TILE void schedule_fence() { __syncwarp(); }

// --- shared memory

TILE uint32_t atomic_add(uint32_t *p, uint32_t v) { return atomicAdd(p, v); }
TILE unsigned long long atomic_add(unsigned long long *p, unsigned long long v) { return atomicAdd(p, v); }
TILE uint4 load16_shared(const void *p) { return *static_cast<const uint4 *>(p); }
TILE void store16_shared(void *p, uint4 v) { *static_cast<uint4 *>(p) = v; }

// 16 bytes from global to shared memory, past the registers. Arrives at the cp_async_wait of its group, for the issuing thread; others need
// a barrier on top of that.
TILE void cp_async16(smem<bf16> to, const void *from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from) : "memory");
}
// Zeros, and no read of `from`, if not valid.
TILE void cp_async16_or_zero(smem<bf16> to, const void *from, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(valid ? 16 : 0) : "memory");
}
TILE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most `pending` groups, the latest, are under way.
template <int pending>
TILE void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// --- block, warp

TILE void sync_block() { __syncthreads(); }
TILE void sync_warp() { __syncwarp(); }
TILE int lane_id() { return static_cast<int>(threadIdx.x & 31); }
template <class T>
TILE T shuffle(T value, int source) {
    return __shfl_sync(0xffffffffu, value, source);
}
template <class T>
TILE T shuffle_xor(T value, int mask) {
    return __shfl_xor_sync(0xffffffffu, value, mask);
}
// From the lane `by` below; a lane that has none keeps its own.
template <class T>
TILE T shuffle_up(T value, int by) {
    return __shfl_up_sync(0xffffffffu, value, by);
}
TILE uint32_t vote(bool value) { return __ballot_sync(0xffffffffu, value); }

// --- tensor cores; g = lane / 4, t = lane % 4

// C[16x8] += A[16x16] * B[16x8] in float.
//   A  a0 (g, 2t..)  a1 (g + 8, 2t..)  a2 (g, 2t + 8..)  a3 (g + 8, 2t + 8..)     pairs along k
//   B  b0 (2t.., g)  b1 (2t + 8.., g)                                            pairs along k
//   C  c0 c1 (g, 2t..)  c2 c3 (g + 8, 2t..)
TILE void mma_16816(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// Four 8x8 matrices of 16-bit elements; lanes 8m..8m+7 name the 16-byte rows of matrix m. r[m] holds (g, 2t..) of it, or (2t.., g) transposed.
TILE void ldsm4(uint32_t (&r)[4], smem<const bf16> row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}
TILE void ldsm4_transposed(uint32_t (&r)[4], smem<const bf16> row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}
// The 8x8 matrix of which lane (g, t) holds (g, 2t..), transposed.
TILE uint32_t transpose8(uint32_t pair) {
    uint32_t r;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r) : "r"(pair));
    return r;
}

// --- programmatic dependent launch: before sm_90 kernels of a stream do not overlap, and there is nothing to wait for

TILE void pdl_wait() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
TILE void pdl_trigger() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

#endif

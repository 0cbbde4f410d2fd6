// The emulator itself: it computes what the PTX manual says, and finds each kind of bug that it claims to find.
#include "test.h"

using emu::FaultKind;
using test::Buffer;

namespace {

struct P {
    int *out;
    const bf16 *in;
    int mode;
};

void expect(FaultKind kind, const char *part, void (*kernel)(const P), const P &p, emu::Launch launch) {
    // In every order: what the shadow finds does not hang on who runs first.
    for (int o = 0; o < 3; o++) {
        launch.order = static_cast<emu::Order>(o);
        std::string got = "nothing";
        try {
            emu::run(launch, kernel, p);
        } catch (const emu::Fault &fault) {
            got = fault.what();
            if (fault.kind == kind && got.find(part) != std::string::npos) {
                continue;
            }
        }
        CHECK_MESSAGE(false, "wanted a fault with '" + std::string(part) + "' in order " + std::to_string(o) + ", got: " + got);
    }
}

void expect_clean(void (*kernel)(const P), const P &p, emu::Launch launch) {
    for (int o = 0; o < 3; o++) {
        launch.order = static_cast<emu::Order>(o);
        emu::run(launch, kernel, p);
    }
}

emu::Launch one_block(unsigned threads, size_t shared_bytes) { return test::launch_of(dim3(1), dim3(threads), shared_bytes); }

// --- shared memory between threads; mode 1 has the bug

KERNEL(64, 1) exchange(PARAMS(P) p) {
    SHARED_MEMORY(memory);
    smem<int> a = shared_at<int>(memory, 0);
    int i = static_cast<int>(threadIdx.x);
    a[i] = -1;
    sync_block();
    a[i] = i;
    if (p.mode != 1) {
        sync_block();
    }
    int other = a[63 - i];
    if (p.mode != 2) {
        sync_block();
    }
    a[i] = other;
    p.out[i] = a[i];
}

KERNEL(64, 1) same_word(PARAMS(P) p) {
    SHARED_MEMORY(memory);
    smem<int> a = shared_at<int>(memory, 0);
    a[p.mode == 1 ? 0 : threadIdx.x] = 1;
}

KERNEL(32, 1) halves_of_a_word(PARAMS(P) p) {
    SHARED_MEMORY(memory);
    smem<bf16> a = shared_at<bf16>(memory, 0);
    int i = static_cast<int>(threadIdx.x);
    a[i] = to_bf16(static_cast<float>(i));
    p.out[i] = static_cast<int>(to_float(a[i]));
}

// Two lanes read, one of them writes after: the other's read must not be forgotten.
KERNEL(32, 1) write_after_two_reads(PARAMS(P) p) {
    SHARED_MEMORY(memory);
    smem<int> a = shared_at<int>(memory, 0);
    int i = lane_id();
    if (i == 0) {
        a[0] = 7;
    }
    sync_warp();
    int seen = a[0];
    shuffle(seen, 0);  // brings the lanes together, promises nothing about memory
    if (p.mode == 0) {
        sync_warp();
    }
    if (i == 5) {
        a[0] = seen + 1;
    }
}

KERNEL(64, 1) warp_sync_is_not_enough(PARAMS(P) p) {
    SHARED_MEMORY(memory);
    smem<int> a = shared_at<int>(memory, 0);
    int i = static_cast<int>(threadIdx.x);
    a[i] = -1;
    sync_block();
    a[i] = i;
    if (p.mode == 1) {
        sync_warp();
    } else {
        sync_block();
    }
    p.out[i] = a[(i + 32) % 64];
}

KERNEL(32, 1) unwritten(PARAMS(P) p) {
    SHARED_MEMORY(memory);
    p.out[threadIdx.x] = shared_at<int>(memory, 0)[threadIdx.x];
}

KERNEL(32, 1) past_the_end(PARAMS(P) p) {
    SHARED_MEMORY(memory);
    shared_at<int>(memory, 0)[static_cast<int>(threadIdx.x) + p.mode] = 1;
}

KERNEL(32, 1) count_in_shared(PARAMS(P) p) {
    SHARED_MEMORY(memory);
    smem<uint32_t> a = shared_at<uint32_t>(memory, 0);
    if (lane_id() == 0) {
        a[0] = 0;
    }
    sync_warp();
    atomic_add(a, 1u);
    if (p.mode == 0) {
        sync_warp();
    }
    uint32_t value = a[0];
    p.out[lane_id()] = static_cast<int>(value);
}

// --- asynchronous copies: one warp, a ring of two 512-byte slots

KERNEL(32, 1) ring(PARAMS(P) p) {
    SHARED_MEMORY(memory);
    smem<bf16> slots = shared_at<bf16>(memory, 0);
    int lane = lane_id();
    auto issue = [&](int n) {
        if (n < 4) {
            cp_async16(slots + (n % 2) * 256 + lane * 8, p.in + n * 256 + lane * 8);
        }
        cp_async_commit();
    };
    issue(0);
    float sum = 0;
    for (int n = 0; n < 4; n++) {
        issue(n + 1);
        if (p.mode == 1) {
            cp_async_wait<2>();  // one too many
        } else {
            cp_async_wait<1>();
        }
        if (p.mode != 2) {
            sync_warp();
        }
        uint32_t r[4];
        ldsm4(r, slots + (n % 2) * 256 + lane * 8);
        sum += low_half(r[0]);
        if (p.mode != 3) {
            sync_warp();
        }
    }
    p.out[lane] = static_cast<int>(sum);
}

KERNEL(32, 1) misaligned_copy(PARAMS(P) p) {
    SHARED_MEMORY(memory);
    smem<bf16> to = shared_at<bf16>(memory, 0);
    cp_async16(to + lane_id() * 8 + (p.mode == 1 ? 4 : 0), p.in + (p.mode == 2 ? 4 : 0));
}

KERNEL(32, 1) misaligned_row(PARAMS(P) p) {
    SHARED_MEMORY(memory);
    smem<bf16> rows = shared_at<bf16>(memory, 0);
    for (int i = 0; i < 16; i++) {
        rows[lane_id() * 16 + i] = to_bf16(0);
    }
    sync_warp();
    uint32_t r[4];
    ldsm4(r, rows + lane_id() * 8 + p.mode);
}

KERNEL(32, 1) load_vector(PARAMS(P) p) {
    if (threadIdx.x == 0) {
        load16(p.in + p.mode);
    }
}

// --- barriers and collectives

KERNEL(64, 1) two_barriers(PARAMS(P) p) {
    if (threadIdx.x < 32) {
        sync_block();
    } else if (p.mode == 1) {
        sync_block();
    }
}

KERNEL(64, 1) half_in_a_shuffle(PARAMS(P) p) {
    if (p.mode == 0 || threadIdx.x % 2 == 0) {
        p.out[threadIdx.x] = shuffle_xor(1, 2);
    }
}

KERNEL(32, 1) two_collectives(PARAMS(P) p) {
    if (threadIdx.x < 16) {
        p.out[threadIdx.x] = static_cast<int>(vote(true));
    } else {
        p.out[threadIdx.x] = shuffle(1, 0);
    }
}

KERNEL(32, 1) barrier_against_shuffle(PARAMS(P)) {
    if (threadIdx.x < 16) {
        sync_block();
    } else {
        shuffle(1, 0);
    }
}

// --- between blocks

KERNEL(32, 1) meet(PARAMS(P) p) {
    if (threadIdx.x == 0) {
        atomic_add(p.out, 1);
        while (load_acquire(p.out) < static_cast<int>(gridDim.x)) {
        }
    }
}

KERNEL(32, 1) after_predecessor(PARAMS(P) p) {
    if (p.mode == 0) {
        pdl_wait();
    }
    p.out[threadIdx.x] = static_cast<int>(to_float(p.in[threadIdx.x]));
    if (p.mode == 1) {
        pdl_wait();
    }
}

}  // namespace

// Property: threads of different warps that share memory without a barrier are found, whichever comes first; those with one are not.
TEST(emulator_finds_races_between_warps) {
    Buffer<int> out(64);
    P p{out, nullptr, 0};
    expect_clean(exchange, p, one_block(64, 256));
    for (int i = 0; i < 64; i++) {
        CHECK(out[i] == 63 - i);
    }
    expect_clean(same_word, p, one_block(64, 256));
    expect_clean(warp_sync_is_not_enough, p, one_block(64, 256));
    p.mode = 1;
    expect(FaultKind::race, "no sync_block()", exchange, p, one_block(64, 256));
    expect(FaultKind::race, "write after write", same_word, p, one_block(64, 256));
    expect(FaultKind::race, "no sync_block()", warp_sync_is_not_enough, p, one_block(64, 256));
    p.mode = 2;
    expect(FaultKind::race, "no sync_block()", exchange, p, one_block(64, 256));
}

// Property: lanes of a warp are ordered by sync_warp() alone: collectives exchange registers but order no memory.
TEST(emulator_finds_races_within_a_warp) {
    Buffer<int> out(32);
    P p{out, nullptr, 0};
    expect_clean(write_after_two_reads, p, one_block(32, 64));
    p.mode = 1;
    expect(FaultKind::race, "write after read of shared memory, by thread 5", write_after_two_reads, p, one_block(32, 64));
}

// Property: lanes that write different halves of a word do not disturb each other.
TEST(emulator_knows_halves_of_words) {
    Buffer<int> out(32);
    expect_clean(halves_of_a_word, {out, nullptr, 0}, one_block(32, 64));
    CHECK(out[31] == 31);
}

// Property: atomics on shared memory do not race with each other, but with plain reads.
TEST(emulator_orders_atomics_on_shared_memory) {
    Buffer<int> out(32);
    P p{out, nullptr, 0};
    expect_clean(count_in_shared, p, one_block(32, 64));
    CHECK(out[0] == 32 && out[31] == 32);
    p.mode = 1;
    expect(FaultKind::race, "of shared memory", count_in_shared, p, one_block(32, 64));
}

// Property: reading what the block has not written is found, also where an earlier block of the same launch had written there.
TEST(emulator_finds_uninitialised_shared_memory) {
    Buffer<int> out(32);
    expect(FaultKind::uninitialised, "has not written", unwritten, {out, nullptr, 0}, one_block(32, 128));
    expect(FaultKind::uninitialised, "has not written", [](const P q) {
        SHARED_MEMORY(memory);
        smem<int> a = shared_at<int>(memory, 0);
        if (blockIdx.x == 0) {
            a[threadIdx.x] = 1;
        }
        q.out[threadIdx.x] = a[threadIdx.x];
    }, {out, nullptr, 0}, test::launch_of(dim3(2), dim3(32), 128));
}

// Property: one element too many of shared memory is found.
TEST(emulator_finds_shared_memory_out_of_bounds) {
    expect_clean(past_the_end, {nullptr, nullptr, 0}, one_block(32, 128));
    expect(FaultKind::shared_bounds, "at 128 of shared memory of 128", past_the_end, {nullptr, nullptr, 1}, one_block(32, 128));
    expect(FaultKind::shared_bounds, "of shared memory of 128", past_the_end, {nullptr, nullptr, -1}, one_block(32, 128));
}

// Property: in a ring of asynchronous copies a wait too short, a missing sync_warp() after it (the copy is the issuing lane's) and one missing
// before the slot is used again are all found.
TEST(emulator_finds_faults_of_asynchronous_copies) {
    Buffer<int> out(32);
    Buffer<bf16> in(1024);
    in.fill(to_bf16(2));
    P p{out, in, 0};
    expect_clean(ring, p, one_block(32, 1024));
    CHECK(out[0] == 8 && out[31] == 8);
    p.mode = 1;
    expect(FaultKind::async_in_flight, "under way", ring, p, one_block(32, 1024));
    p.mode = 2;
    expect(FaultKind::race, "read after write", ring, p, one_block(32, 1024));
    p.mode = 3;
    expect(FaultKind::race, "write after read", ring, p, one_block(32, 1024));
}

// Property: vector accesses off their alignment or outside every buffer are found.
TEST(emulator_finds_bad_vector_accesses) {
    Buffer<bf16> in(256);
    in.fill(to_bf16(1));
    expect_clean(misaligned_row, {nullptr, in, 0}, one_block(32, 1024));
    expect(FaultKind::misaligned, "no multiple of 16", misaligned_row, {nullptr, in, 4}, one_block(32, 1024));
    expect_clean(load_vector, {nullptr, in, 0}, one_block(32, 0));
    expect(FaultKind::misaligned, "alignment of 16", load_vector, {nullptr, in, 4}, one_block(32, 0));
    expect(FaultKind::global_bounds, "outside every buffer", load_vector, {nullptr, in, 256}, one_block(32, 0));
    expect(FaultKind::global_bounds, "outside every buffer", load_vector, {nullptr, in, -8}, one_block(32, 0));
    expect_clean(misaligned_copy, {nullptr, in, 0}, one_block(32, 1024));
    expect(FaultKind::misaligned, "no multiple of 16", misaligned_copy, {nullptr, in, 1}, one_block(32, 1024));
    expect(FaultKind::misaligned, "alignment of 16", misaligned_copy, {nullptr, in, 2}, one_block(32, 1024));
}

// Property: a barrier that some threads never reach, and a collective that some lanes never reach, are found and named.
TEST(emulator_finds_divergence) {
    Buffer<int> out(64);
    P p{out, nullptr, 1};
    expect(FaultKind::divergent_barrier, "sync_block", two_barriers, p, one_block(64, 0));
    expect_clean(half_in_a_shuffle, {out, nullptr, 0}, one_block(64, 0));
    expect(FaultKind::divergent_collective, "shuffle", half_in_a_shuffle, p, one_block(64, 0));
    expect(FaultKind::divergent_collective, "meets", two_collectives, p, one_block(32, 0));
    expect(FaultKind::deadlock, "nobody can go on", barrier_against_shuffle, p, one_block(32, 0));
}

// Property: blocks may wait for each other where all are resident; where they are not, the launch ends with a fault and not in a loop.
TEST(emulator_runs_blocks_side_by_side) {
    Buffer<int> count(1);
    for (int o = 0; o < 3; o++) {
        count[0] = 0;
        emu::Launch l = test::launch_of(dim3(4), dim3(32), 0, 4);
        l.order = static_cast<emu::Order>(o);
        emu::run(l, meet, {count, nullptr, 0});
        CHECK(count[0] == 4);
    }
    emu::Launch l = test::launch_of(dim3(4), dim3(32), 0, 2);
    l.max_switches = 10000;
    l.order = emu::Order::forward;
    std::string message;
    count[0] = 0;
    try {
        emu::run(l, meet, {count, nullptr, 0});
    } catch (const emu::Fault &fault) {
        CHECK(fault.kind == FaultKind::livelock);
        message = fault.what();
    }
    CHECK(message.find("does not end") != std::string::npos);
}

// Property: what the kernel before this one writes is not there before pdl_wait().
TEST(emulator_hides_the_predecessors_results) {
    Buffer<int> out(64);
    Buffer<bf16> in(64);
    for (int mode = 0; mode < 2; mode++) {
        in.fill(to_bf16(3));
        out.poison();
        emu::Launch l = one_block(64, 0);
        l.predecessor_writes.push_back({in.data(), in.bytes()});
        emu::run(l, after_predecessor, {out, in, mode});
        for (int i = 0; i < 64; i++) {
            CHECK((out[i] == 3) == (mode == 0));
        }
        CHECK(to_float(in[0]) == 3);
    }
}

namespace {

struct Tiles {
    const bf16 *a;
    const bf16 *b;
    float *c;
    uint32_t *transposed;
};

KERNEL(32, 1) multiply_tiles(PARAMS(Tiles) p) {
    SHARED_MEMORY(memory);
    smem<bf16> a = shared_at<bf16>(memory, 0);    // [16 m][16 k]
    smem<bf16> b = shared_at<bf16>(memory, 512);  // [16 k][8 n], then [8 n][16 k] of the same
    int lane = lane_id();
    cp_async16(a + lane * 8, p.a + lane * 8);
    cp_async16_or_zero(b + lane * 8, p.b + lane * 8, lane < 16);
    cp_async_commit();
    cp_async_wait<0>();
    sync_warp();
    uint32_t fa[4];
    uint32_t fb[4];
    ldsm4(fa, a + (lane % 16) * 16 + lane / 16 * 8);
    ldsm4_transposed(fb, b + (lane % 16) * 8);
    float c[4] = {0, 0, 0, 0};
    mma_16816(c, fa, fb[0], fb[1]);
    int g = lane / 4;
    int t = lane % 4;
    for (int i = 0; i < 4; i++) {
        p.c[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = c[i];
    }
    p.transposed[lane] = transpose8(fb[0]);
}

}  // namespace

// Property: ldmatrix, its transposed form, movmatrix and mma together give a matrix product.
TEST(emulator_multiplies_matrices) {
    Buffer<bf16> a(256);
    Buffer<bf16> b(256);
    Buffer<float> c(128);
    Buffer<uint32_t> transposed(32);
    test::Random random(1);
    random.fill(a);
    random.fill(b);
    Tiles p{a, b, c, transposed};
    emu::run(one_block(32, 1024), multiply_tiles, p);
    test::Error error;
    for (int m = 0; m < 16; m++) {
        for (int n = 0; n < 8; n++) {
            double sum = 0;
            for (int k = 0; k < 16; k++) {
                sum += static_cast<double>(to_float(a[m * 16 + k])) * to_float(b[k * 8 + n]);
            }
            error.add(c[m * 8 + n], sum);
        }
    }
    CHECK_ERROR(error, 1e-6);
    for (int lane = 0; lane < 32; lane++) {
        // fb[0] holds (k 2t.., n g) in lane (g, t): its transpose holds (k g, n 2t..).
        CHECK(low_half(transposed[lane]) == to_float(b[lane / 4 * 8 + 2 * (lane % 4)]));
    }
}

// Property: conversions to bfloat16 round to the nearest even, as the device's do.
TEST(emulator_rounds_to_nearest_even) {
    CHECK(to_bf16(1.00390625f).bits == 0x3f80);                   // halfway, to even
    CHECK(to_bf16(1.01171875f).bits == 0x3f82);                   // halfway, to even, upwards
    CHECK(to_bf16(bits_float(0x3f808001u)).bits == 0x3f81);
    CHECK(to_bf16(3.4e38f).bits == 0x7f80);                       // overflows to infinity
    CHECK(to_bf16(bits_float(0xffc00001u)).bits == 0x7fff);
    CHECK(pack_bf16(1, -2) == 0xc0003f80u);
}

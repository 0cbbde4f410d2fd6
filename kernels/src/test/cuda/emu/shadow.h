// The race shadow: who wrote and who read each half word of a block's shared memory last, and what has ordered them since.
//
// Two accesses by different threads are ordered by a block barrier between them or, within a warp, by sync_warp(). Nothing else orders them:
// not that lanes run in step, and not a shuffle, a vote, an mma or an ldmatrix, which exchange registers but promise nothing about memory.
// (That the lanes of a warp meet in a collective hides such bugs on the emulator as on most hardware; the shadow finds them all the same.)
//
// Granules are 2 bytes, so that neighbouring bf16 elements of different lanes are no conflict. Epochs only grow, also from block to block, so
// nothing is cleared between blocks: what is older than the block counts as never written.
#pragma once
#include <cstdint>
#include <vector>

#include "fault.h"

namespace emu {

struct Clock {
    uint32_t block;  // barriers passed by the block
    uint32_t warp;   // sync_warps passed by the warp
};

struct Accessor {
    uint16_t thread;
    Clock now;
    uint32_t block_began;  // block epoch at which this block started
};

#ifdef EMU_UNCHECKED
// For runs that are about results, not about kernels: nothing is watched.
class Shadow {
  public:
    void resize(size_t) {}
    void write(size_t, size_t, const Accessor &, Site) {}
    void read(size_t, size_t, const Accessor &, Site) {}
    void read_by_warp(size_t, size_t, const Accessor &, Site) {}
    void atomic(size_t, size_t, const Accessor &, Site) {}
    void begin_copy(size_t, size_t, const Accessor &, Site) {}
    void end_copy(size_t, size_t, const Accessor &) {}
};
#else
class Shadow {
  public:
    static constexpr size_t granule = 2;

    void resize(size_t bytes) {
        if (granules_.size() < bytes / granule + 1) {
            granules_.resize(bytes / granule + 1);
        }
    }

    void write(size_t offset, size_t bytes, const Accessor &who, Site site) {
        for (size_t i = offset / granule; i < (offset + bytes + 1) / granule; i++) {
            Granule &g = granules_[i];
            check_write(g, who, site, false);
            g.wrote = stamp(who);
            g.flags = 0;
        }
    }

    void read(size_t offset, size_t bytes, const Accessor &who, Site site) {
        for (size_t i = offset / granule; i < (offset + bytes + 1) / granule; i++) {
            Granule &g = granules_[i];
            check_read(g, who, false, site);
            note_read(g, who, false);
        }
    }

    // A read whose result goes to lanes other than the one that names the address (ldmatrix): the writer must be ordered before the whole
    // warp, also where it is the lane itself.
    void read_by_warp(size_t offset, size_t bytes, const Accessor &who, Site site) {
        for (size_t i = offset / granule; i < (offset + bytes + 1) / granule; i++) {
            Granule &g = granules_[i];
            check_read(g, who, true, site);
            note_read(g, who, true);
        }
    }

    // Atomics do not race with each other, but with all else.
    void atomic(size_t offset, size_t bytes, const Accessor &who, Site site) {
        for (size_t i = offset / granule; i < (offset + bytes + 1) / granule; i++) {
            Granule &g = granules_[i];
            if (g.wrote.at.block < who.block_began) {
                fail(FaultKind::uninitialised, "atomic on shared memory that this block has not written", site);
            }
            check_write(g, who, site, true);
            g.wrote = stamp(who);
            g.flags = is_atomic;
        }
    }

    // cp.async: the destination belongs to the copy from its issue to the wait of the issuing thread.
    void begin_copy(size_t offset, size_t bytes, const Accessor &who, Site site) {
        write(offset, bytes, who, site);
        for (size_t i = offset / granule; i < (offset + bytes) / granule; i++) {
            granules_[i].flags = in_flight;
        }
    }

    void end_copy(size_t offset, size_t bytes, const Accessor &who) {
        for (size_t i = offset / granule; i < (offset + bytes) / granule; i++) {
            granules_[i].wrote = stamp(who);
            granules_[i].flags = 0;
        }
    }

  private:
    enum Flag : uint8_t { in_flight = 1, is_atomic = 2 };
    enum Readers : uint8_t { one_lane, one_warp, many_warps };
    struct Stamp {
        Clock at{0, 0};
        uint16_t thread = 0;
    };
    struct Granule {
        Stamp wrote;
        Stamp read;
        uint8_t flags = 0;
        uint8_t readers = one_lane;
    };

    static Stamp stamp(const Accessor &who) { return {who.now, who.thread}; }

    static bool before(const Stamp &earlier, const Accessor &who) {
        return earlier.at.block < who.now.block || (earlier.thread / 32 == who.thread / 32 && earlier.at.warp < who.now.warp);
    }

    static void check_read(const Granule &g, const Accessor &who, bool by_warp, Site site) {
        if (g.wrote.at.block < who.block_began) {
            fail(FaultKind::uninitialised, "read of shared memory that this block has not written", site);
        }
        if (g.flags & in_flight) {
            fail(FaultKind::async_in_flight, "read of shared memory while a cp.async into it may be under way: wait for its group first", site);
        }
        if (!before(g.wrote, who) && (by_warp || g.wrote.thread != who.thread)) {
            race("read after write", g.wrote, who, site);
        }
    }

    static void check_write(const Granule &g, const Accessor &who, Site site, bool atomic) {
        if ((g.flags & in_flight) && g.wrote.at.block >= who.block_began) {
            fail(FaultKind::async_in_flight, "write to shared memory while a cp.async into it may be under way", site);
        }
        bool both_atomic = atomic && (g.flags & is_atomic);
        if (g.wrote.thread != who.thread && !both_atomic && !before(g.wrote, who)) {
            race("write after write", g.wrote, who, site);
        }
        bool own = g.readers == one_lane && g.read.thread == who.thread;
        bool ordered = g.readers == many_warps ? g.read.at.block < who.now.block : before(g.read, who);
        if (!own && !ordered) {
            race("write after read", g.read, who, site);
        }
    }

    // Keeps the latest read and how wide the reads of the same epoch were: a write must be ordered after all of them.
    static void note_read(Granule &g, const Accessor &who, bool by_warp) {
        bool current = g.read.at.block == who.now.block;
        if (current && g.read.thread / 32 != who.thread / 32) {
            g.readers = many_warps;
        } else if (!current || (g.readers != many_warps && g.read.at.warp < who.now.warp)) {
            g.readers = by_warp ? one_warp : one_lane;
        } else if (g.readers == one_lane && (by_warp || g.read.thread != who.thread)) {
            g.readers = one_warp;
        }
        g.read = stamp(who);
    }

    [[noreturn]] static void race(const char *order, const Stamp &earlier, const Accessor &who, Site site) {
        bool same_warp = earlier.thread / 32 == who.thread / 32;
        fail(FaultKind::race, std::string(order) + " of shared memory, by thread " + std::to_string(who.thread) + " after thread "
                + std::to_string(earlier.thread) + ", with no " + (same_warp ? "sync_warp() or " : "") + "sync_block() between them", site);
    }

    std::vector<Granule> granules_;
};
#endif

}  // namespace emu

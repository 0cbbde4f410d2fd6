// The machine: resident blocks, their threads as fibers on one OS thread, barriers and warp collectives.
//
// A fiber runs until it waits: at a barrier, in a collective, at an atomic (so that others come between), at pdl_wait(). Which one runs next
// is the order of the launch: forward, reverse or random. Each OS thread has a machine of its own.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "fault.h"
#include "fiber.h"
#include "shadow.h"

struct uint3 {
    unsigned x = 0, y = 0, z = 0;
};
struct dim3 {
    unsigned x = 1, y = 1, z = 1;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
    unsigned count() const { return x * y * z; }
};

namespace emu {

enum class Order { forward, reverse, random };

struct Launch {
    dim3 grid;
    dim3 block;
    size_t shared_bytes = 0;
    Order order = Order::forward;
    uint32_t seed = 1;
    // Blocks on the machine at once. Those beyond start when one ends, as on a device that is full.
    unsigned resident = 1;
    uint64_t max_switches = uint64_t{1} << 31;
    // What the kernel before this one writes: poisoned until all threads that can reach pdl_wait() stand there.
    std::vector<std::pair<void *, size_t>> predecessor_writes;
};

constexpr unsigned warp_size = 32;

using Resolve = void (*)(void *const *lanes);  // computes the results of all 32 lanes from their arguments, in place

struct Warp {
    void *lanes[warp_size];
    uint32_t arrived = 0;
    const char *what = nullptr;
    Site site{nullptr, 0};
    uint32_t epoch = 0;
};

enum class State : uint8_t { runnable, at_barrier, in_collective, at_pdl_wait, ended };

struct Block;

struct Copy {
    size_t offset;      // in shared memory
    const void *source; // null: zeros
    unsigned bytes;
    unsigned group;
};

struct Thread {
    Fiber fiber;
    Block *block = nullptr;
    Warp *warp = nullptr;
    uint3 tid;
    uint16_t index = 0;
    uint8_t lane = 0;
    State state = State::ended;
    Site site{nullptr, 0};
    unsigned copy_group = 0;
    std::vector<Copy> copies;
};

struct Block {
    uint3 index;
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    std::vector<unsigned char> shared_memory;
    unsigned char *shared = nullptr;  // 128-byte aligned
    Shadow shadow;
    uint32_t epoch = 1;
    uint32_t began = 1;
    unsigned live = 0;
    unsigned waiting = 0;
    std::unique_ptr<unsigned char[]> stacks;
};

class Machine {
  public:
    void run(const Launch &launch, const std::function<void()> &kernel);

    // For fibers.
    void barrier(Site site);
    void collective(const char *what, void *arguments, Resolve resolve, Site site);
    void yield();
    void pdl_wait(Site site);
    [[noreturn]] void abandon(FaultKind kind, const std::string &message);

    const Launch *launch = nullptr;
    uint64_t switches = 0;

  private:
    static void enter();
    void admit(Block &block, unsigned number);
    Thread &pick();
    void go_on();
    void release_barrier(Block &block);
    [[noreturn]] void stuck();

    Fiber host_;
    const std::function<void()> *kernel_ = nullptr;
    std::vector<std::unique_ptr<Block>> blocks_;
    std::vector<Thread *> order_;
    size_t cursor_ = 0;
    unsigned next_block_ = 0;
    unsigned live_blocks_ = 0;
    std::mt19937 random_;
    std::unique_ptr<Fault> fault_;
    std::vector<std::vector<unsigned char>> predecessor_data_;
    bool predecessor_done_ = true;
};

extern thread_local Machine machine;
extern thread_local Thread *current;

inline Accessor accessor() {
    const Block &b = *current->block;
    return {current->index, {b.epoch, current->warp->epoch}, b.began};
}

}  // namespace emu

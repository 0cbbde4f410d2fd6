#include "machine.h"
#include "memory.h"

#include <algorithm>
#include <cstring>

namespace emu {

thread_local Machine machine;
thread_local Thread *current = nullptr;
thread_local GlobalMemory global_memory;

void fail(FaultKind kind, const std::string &message, Site site) {
    const char *slash = std::strrchr(site.file, '/');
    const uint3 &b = current->block->index;
    machine.abandon(kind, std::string(slash ? slash + 1 : site.file) + ":" + std::to_string(site.line) + ": " + message + " (block "
            + std::to_string(b.x) + "," + std::to_string(b.y) + "," + std::to_string(b.z) + " thread " + std::to_string(current->index) + ")");
}

void Machine::abandon(FaultKind kind, const std::string &message) {
    fault_ = std::make_unique<Fault>(kind, message);
    current->fiber.switch_to(host_);
    std::abort();  // nobody switches back to a fiber after a fault
}

// A fiber's life. Its stack belongs to the block, so the block's successor is started by the host, on the host's stack.
void Machine::enter() {
    current->fiber.arrived();
    (*machine.kernel_)();
    Block &block = *current->block;
    current->state = State::ended;
    if (current->warp->arrived != 0) {
        fail(FaultKind::divergent_collective, std::string("this lane has ended while others of its warp wait in ") + current->warp->what,
             current->warp->site);
    }
    block.live--;
    machine.release_barrier(block);
    if (block.live == 0) {
        machine.live_blocks_--;
        current->fiber.switch_to(machine.host_);
    }
    machine.go_on();
    std::abort();  // an ended thread is not picked again
}

void Machine::admit(Block &block, unsigned number) {
    const Launch &l = *launch;
    unsigned count = l.block.count();
    block.index = {number % l.grid.x, number / l.grid.x % l.grid.y, number / l.grid.x / l.grid.y};
    if (block.threads.size() != count) {
        block.threads = std::vector<Thread>(count);
        block.warps = std::vector<Warp>(count / warp_size);
        block.stacks.reset(new unsigned char[count * Fiber::stack_bytes]);  // not cleared: most of it is never touched
        block.epoch = 1;
        block.shadow = Shadow();
    }
    block.shared_memory.assign(l.shared_bytes + 128, 0xCD);
    block.shared = reinterpret_cast<unsigned char *>((reinterpret_cast<uintptr_t>(block.shared_memory.data()) + 127) & ~uintptr_t{127});
    block.shadow.resize(l.shared_bytes);
    block.began = ++block.epoch;
    block.live = count;
    block.waiting = 0;
    for (unsigned i = 0; i < count; i++) {
        Thread &t = block.threads[i];
        t.block = &block;
        t.warp = &block.warps[i / warp_size];
        t.tid = {i % l.block.x, i / l.block.x % l.block.y, i / l.block.x / l.block.y};
        t.index = static_cast<uint16_t>(i);
        t.lane = static_cast<uint8_t>(i % warp_size);
        t.state = State::runnable;
        t.copies.clear();
        t.copy_group = 0;
        t.fiber.prepare(block.stacks.get() + i * Fiber::stack_bytes, enter);
    }
    for (Warp &w : block.warps) {
        w.arrived = 0;
        w.epoch++;
    }
    live_blocks_++;
}

void Machine::run(const Launch &l, const std::function<void()> &kernel) {
    if (l.block.count() % warp_size != 0 || l.block.count() > 1024 || l.grid.count() == 0) {
        throw std::invalid_argument("a launch needs at least one block, of whole warps and at most 1024 threads");
    }
    launch = &l;
    kernel_ = &kernel;
    switches = 0;
    next_block_ = 0;
    live_blocks_ = 0;
    cursor_ = 0;
    fault_.reset();
    random_.seed(l.seed);
    host_.adopt();
    predecessor_data_.clear();
    predecessor_done_ = l.predecessor_writes.empty();
    for (auto &[data, bytes] : l.predecessor_writes) {
        auto *from = static_cast<unsigned char *>(data);
        predecessor_data_.emplace_back(from, from + bytes);
        std::memset(data, 0xFF, bytes);
    }
    unsigned resident = std::min(l.resident, l.grid.count());
    while (blocks_.size() < resident) {
        blocks_.push_back(std::make_unique<Block>());
    }
    order_.clear();
    auto start = [&](Block &block) {
        // Blocks start in grid order, or in reverse: neither is promised.
        unsigned number = l.order == Order::reverse ? l.grid.count() - 1 - next_block_ : next_block_;
        next_block_++;
        admit(block, number);
    };
    for (unsigned i = 0; i < resident; i++) {
        start(*blocks_[i]);
        for (Thread &t : blocks_[i]->threads) {
            order_.push_back(&t);
        }
    }
    if (l.order == Order::reverse) {
        std::reverse(order_.begin(), order_.end());
    }
    if (l.order == Order::random) {
        std::shuffle(order_.begin(), order_.end(), random_);
    }
    while (live_blocks_ > 0) {
        current = &pick();
        host_.switch_to(current->fiber);
        current = nullptr;
        if (fault_) {
            throw Fault(*fault_);
        }
        for (unsigned i = 0; i < resident && next_block_ < l.grid.count(); i++) {
            if (blocks_[i]->live == 0) {
                start(*blocks_[i]);
            }
        }
    }
}

// The next fiber that can run. Barriers are released here, when all live threads of a block stand at one.
Thread &Machine::pick() {
    if (++switches > launch->max_switches) {
        throw Fault(FaultKind::livelock, "the launch does not end: " + std::to_string(switches) + " switches");
    }
    for (int attempt = 0; attempt < 2; attempt++) {
        for (size_t tried = 0; tried < order_.size(); tried++) {
            Thread &t = *order_[cursor_];
            if (++cursor_ == order_.size()) {
                cursor_ = 0;
                if (launch->order == Order::random) {
                    std::shuffle(order_.begin(), order_.end(), random_);
                }
            }
            if (t.state == State::runnable) {
                return t;
            }
        }
        bool any = false;
        for (Thread *t : order_) {
            any |= t->state == State::at_pdl_wait;
        }
        if (!any || predecessor_done_) {
            break;
        }
        for (size_t i = 0; i < predecessor_data_.size(); i++) {
            std::memcpy(launch->predecessor_writes[i].first, predecessor_data_[i].data(), predecessor_data_[i].size());
        }
        predecessor_done_ = true;
        for (Thread *t : order_) {
            if (t->state == State::at_pdl_wait) {
                t->state = State::runnable;
            }
        }
    }
    stuck();
}

void Machine::stuck() {
    std::string who;
    int named = 0;
    for (Thread *t : order_) {
        if (t->state == State::ended || named == 4) {
            continue;
        }
        named++;
        who += "; thread " + std::to_string(t->index) + " of block " + std::to_string(t->block->index.x)
                + (t->state == State::at_barrier ? " waits at the barrier of line " : " waits in the collective of line ")
                + std::to_string(t->site.line);
    }
    throw Fault(FaultKind::deadlock, "nobody can go on" + who);
}

// From the present fiber to the next. A fault that is found while picking is thrown from the host's stack, not from a fiber's.
void Machine::go_on() {
    Thread *self = current;
    Thread *next;
    try {
        next = &pick();
    } catch (const Fault &fault) {
        abandon(fault.kind, fault.what());
    }
    if (next == self) {
        return;
    }
    current = next;
    self->fiber.switch_to(next->fiber);
}

void Machine::yield() { go_on(); }

void Machine::barrier(Site site) {
    Block &block = *current->block;
    current->site = site;
    current->state = State::at_barrier;
    block.waiting++;
    release_barrier(block);
    if (current->state == State::at_barrier) {
        go_on();
    }
}

// Threads that have ended count as arrived.
void Machine::release_barrier(Block &block) {
    if (block.waiting == 0 || block.waiting < block.live) {
        return;
    }
    const Thread *first = nullptr;
    for (Thread &t : block.threads) {
        if (t.state != State::at_barrier) {
            continue;
        }
        if (first != nullptr && !(first->site == t.site)) {
            fail(FaultKind::divergent_barrier, "thread " + std::to_string(first->index) + " is at this sync_block(), thread "
                    + std::to_string(t.index) + " at that of line " + std::to_string(t.site.line), first->site);
        }
        first = first == nullptr ? &t : first;
    }
    for (Thread &t : block.threads) {
        t.state = t.state == State::at_barrier ? State::runnable : t.state;
    }
    block.waiting = 0;
    block.epoch++;
}

void Machine::collective(const char *what, void *arguments, Resolve resolve, Site site) {
    Warp &warp = *current->warp;
    if (warp.arrived == 0) {
        warp.what = what;
        warp.site = site;
        for (unsigned i = current->index - current->lane, lane = 0; lane < warp_size; lane++) {
            if (current->block->threads[i + lane].state == State::ended) {
                fail(FaultKind::divergent_collective, std::string(what) + " by a warp of which lane " + std::to_string(lane) + " has ended", site);
            }
        }
    } else if (warp.what != what || !(warp.site == site)) {
        fail(FaultKind::divergent_collective, std::string(what) + " meets " + warp.what + " of line " + std::to_string(warp.site.line), site);
    }
    warp.lanes[current->lane] = arguments;
    warp.arrived |= 1u << current->lane;
    current->site = site;
    if (warp.arrived != ~0u) {
        current->state = State::in_collective;
        go_on();
        return;
    }
    warp.arrived = 0;
    resolve(warp.lanes);
    Thread *first = &current->block->threads[current->index - current->lane];
    for (unsigned lane = 0; lane < warp_size; lane++) {
        first[lane].state = State::runnable;
    }
}

void Machine::pdl_wait(Site site) {
    if (!predecessor_done_) {
        current->site = site;
        current->state = State::at_pdl_wait;
        go_on();
    }
}

}  // namespace emu

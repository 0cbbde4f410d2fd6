// What the emulator found wrong with a kernel. The first fault ends the launch; emu::launch throws it.
#pragma once
#include <stdexcept>
#include <string>

namespace emu {

enum class FaultKind {
    race,                // two threads touch shared memory, one writes, nothing orders them
    async_in_flight,     // shared memory is touched while a cp.async into it may still be under way
    uninitialised,       // shared memory is read that this block has not written
    shared_bounds,       // outside the dynamic shared memory of the launch
    global_bounds,       // a vector access outside every buffer that is known
    misaligned,          // a vector access off its natural alignment
    divergent_barrier,   // threads of one block wait at different barriers
    divergent_collective,// lanes of one warp meet in different collectives, or one of them has ended
    deadlock,            // nobody can go on
    livelock,            // the launch does not end
};

// Where in a kernel something happens. Used as a default argument, so that it names the caller's line.
struct Site {
    const char *file;
    int line;
    static constexpr Site here(const char *file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
    bool operator==(const Site &other) const { return line == other.line; }
};

struct Fault : std::runtime_error {
    FaultKind kind;
    Fault(FaultKind k, const std::string &message) : std::runtime_error(message), kind(k) {}
};

// Ends the launch from within a fiber; never returns.
[[noreturn]] void fail(FaultKind kind, const std::string &message, Site site);

}  // namespace emu

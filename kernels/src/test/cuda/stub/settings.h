// What a test can ask of the stub: how large the device is, and what goes wrong.
#pragma once
#include <string>

namespace stub {

struct Settings {
    long long devices = 1;                    // 0: as on a machine without one
    long long memory_bytes = 1LL << 30;       // of each device
    long long driver_version = 13000;
    long long compute_major = 9;
    long long compute_minor = 0;
    long long multiprocessors = 4;
    long long init_status = 0;                // what cuInit answers
    long long no_binary = 0;                  // 1: modules have no code for this device
    long long module_status = 0;              // what loading a module answers
    long long programmatic_capture = 1;       // 0: a programmatic launch is refused in a capture; -1: and breaks it
    long long fail_capture = 0;               // 1: so is every launch in a capture, which it breaks
    long long fail_allocation = 0;            // n: the n-th allocation from now on finds no memory
    long long fail_launch = 0;                // n: the n-th launch from now on faults
    long long fail_status = 719;              // with this
    long long hang_launch = 0;                // n: the n-th launch from now on hangs
    long long hang_millis = 200;              // so long, and then faults with 702, as a launch does that a watchdog ends

    // Null for an unknown name.
    long long *find(const std::string &name);
    void read_environment();
};

struct Counters {
    long long allocations = 0;       // made
    long long live_allocations = 0;  // of device memory, not freed yet
    long long live_bytes = 0;
    long long live_pinned = 0;
    long long live_streams = 0;
    long long live_events = 0;
    long long live_modules = 0;
    long long live_graphs = 0;       // with their executable forms
    long long launches = 0;          // run, in graphs and out of them
    long long programmatic_launches = 0;  // enqueued or captured
    long long graph_launches = 0;
    long long copies = 0;

    const long long *find(const std::string &name) const;
};

}  // namespace stub

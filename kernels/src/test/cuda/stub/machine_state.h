// The state of the simulated machine. One lock guards all of it; work on streams runs without the lock.
#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "cuda_api.h"
#include "kernels.h"
#include "memory.h"
#include "settings.h"

// One piece of work on a stream: a copy, a launch, a record. Runs on the stream's thread, without the lock.
using Work = std::function<void()>;

struct CUctx_st {
    int device = 0;
    int retained = 0;
    int sticky = 0;  // the status that every call answers once a kernel has failed
    stub::Memory memory;
    std::set<CUctx_st *> peers;
    CUstream default_stream = nullptr;  // made at first use
};
struct CUmod_st {
    CUcontext context = nullptr;
    std::vector<std::unique_ptr<CUfunc_st>> functions;
};
struct CUfunc_st {
    const stub::Kernel *kernel = nullptr;
    CUcontext context = nullptr;
    int max_dynamic_shared = 48 << 10;
};
struct CUgraph_st {
    std::vector<Work> nodes;
};
struct CUgraphExec_st {
    std::shared_ptr<const std::vector<Work>> nodes;
};
struct CUstream_st {
    CUcontext context = nullptr;
    std::deque<Work> queue;
    bool busy = false;     // the thread is at a piece of work
    bool closing = false;
    std::unique_ptr<CUgraph_st> capture;  // what is being captured
    std::thread::id capturer;
    bool capture_broken = false;
};
struct CUevent_st {
    CUcontext context = nullptr;
    bool timed = true;
    uint64_t recorded = 0;
    uint64_t happened = 0;
    std::chrono::steady_clock::time_point when;
};

namespace stub {

struct State {
    std::mutex lock;
    std::condition_variable changed;  // a piece of work came, or ended
    Settings settings;
    Counters counters;
    bool initialized = false;
    std::vector<std::unique_ptr<CUctx_st>> contexts;  // the primary ones, by device
    Memory pinned;
    std::set<CUmodule> modules;
    std::set<CUstream> streams;
    int draining = 0;  // streams that were destroyed while they had work
    std::set<CUevent> events;
    std::set<CUgraph> graphs;
    std::set<CUgraphExec> executables;
    std::string last_fault;

    State() { settings.read_environment(); }
};

// Never destroyed: threads of streams may outlive main().
State &state();
extern thread_local CUcontext current_context;

using Guard = std::unique_lock<std::mutex>;

// The status with which a call begins: not initialised, no context, or the context's sticky one.
CUresult ready(const State &s);
// Puts work on a stream, or into what it captures.
CUresult enqueue(State &s, CUstream stream, Work work);
// Whether the calling thread captures: what could wait for the device is forbidden then, and breaks the capture.
bool breaks_capture(State &s);
void wait_idle(State &s, Guard &guard, CUstream stream);
// For all streams, those too that were destroyed before their work was done.
void wait_all(State &s, Guard &guard);
// A kernel has failed: the context is lost.
void poison(CUcontext context, int status, const std::string &why);
// Null for what is no stream any more, or never was. Stream 0 is a stream like others.
CUstream find_stream(State &s, CUstream stream);
// Ends the stream's thread once its work is done.
void close_stream(State &s, CUstream stream);

}  // namespace stub

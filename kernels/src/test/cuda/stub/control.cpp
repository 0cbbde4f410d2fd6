// What tests ask of the stub, and the names of statuses.
#include "machine_state.h"

using namespace stub;

#define NAME(status)    \
    case status:        \
        *name = #status; \
        return CUDA_SUCCESS;

CUresult cuGetErrorName(CUresult status, const char **name) {
    switch (static_cast<int>(status)) {
        NAME(CUDA_SUCCESS)
        NAME(CUDA_ERROR_INVALID_VALUE)
        NAME(CUDA_ERROR_OUT_OF_MEMORY)
        NAME(CUDA_ERROR_NOT_INITIALIZED)
        NAME(CUDA_ERROR_NO_DEVICE)
        NAME(CUDA_ERROR_INVALID_DEVICE)
        NAME(CUDA_ERROR_INVALID_IMAGE)
        NAME(CUDA_ERROR_INVALID_CONTEXT)
        NAME(CUDA_ERROR_NO_BINARY_FOR_GPU)
        NAME(CUDA_ERROR_PEER_ACCESS_UNSUPPORTED)
        NAME(CUDA_ERROR_INVALID_HANDLE)
        NAME(CUDA_ERROR_NOT_FOUND)
        NAME(CUDA_ERROR_NOT_READY)
        NAME(CUDA_ERROR_ILLEGAL_ADDRESS)
        NAME(CUDA_ERROR_LAUNCH_TIMEOUT)
        NAME(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED)
        NAME(CUDA_ERROR_MISALIGNED_ADDRESS)
        NAME(CUDA_ERROR_LAUNCH_FAILED)
        NAME(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)
        NAME(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED)
        NAME(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED)
        NAME(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD)
        default: *name = nullptr; return CUDA_ERROR_INVALID_VALUE;
    }
}

// Contexts keep their addresses: a thread may have one current from before.
void mr_stub_reset() {
    State &s = state();
    Guard guard(s.lock);
    for (auto &context : s.contexts) {
        context->sticky = context->sticky != 0 ? context->sticky : CUDA_ERROR_LAUNCH_FAILED;  // so that nobody waits for ever
    }
    s.changed.notify_all();
    wait_all(s, guard);
    std::set<CUstream> all = s.streams;
    for (CUstream stream : all) {
        close_stream(s, stream);
    }
    wait_all(s, guard);
    for (auto &context : s.contexts) {
        context->memory.release_all();
        context->peers.clear();
        context->sticky = 0;
        context->retained = 0;
    }
    s.pinned.release_all();
    s.modules.clear();
    s.events.clear();
    s.graphs.clear();
    s.executables.clear();
    s.last_fault.clear();
    s.counters = Counters();
    s.settings = Settings();
    s.settings.read_environment();
    s.initialized = false;
}

int mr_stub_set(const char *name, long long value) {
    State &s = state();
    Guard guard(s.lock);
    long long *setting = s.settings.find(name);
    if (setting == nullptr) {
        return -1;
    }
    *setting = value;
    return 0;
}

long long mr_stub_get(const char *name) {
    State &s = state();
    Guard guard(s.lock);
    if (const long long *setting = s.settings.find(name)) {
        return *setting;
    }
    const long long *counter = s.counters.find(name);
    return counter == nullptr ? -1 : *counter;
}

const char *mr_stub_last_fault() {
    State &s = state();
    Guard guard(s.lock);
    thread_local std::string text;
    text = s.last_fault;
    return text.c_str();
}

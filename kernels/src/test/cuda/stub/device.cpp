// Devices, contexts, modules, memory, copies.
#include <algorithm>
#include <cstring>

#include "enter.h"

namespace stub {

State &state() {
    static State *s = new State;
    return *s;
}

thread_local CUcontext current_context = nullptr;

CUresult ready(const State &s) {
    if (!s.initialized) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    auto known = std::find_if(s.contexts.begin(), s.contexts.end(), [](const auto &c) { return c.get() == current_context; });
    if (current_context == nullptr || known == s.contexts.end() || current_context->retained == 0) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    return current_context->sticky;
}

void poison(CUcontext context, int status, const std::string &why) {
    State &s = state();
    Guard guard(s.lock);
    if (context->sticky == 0) {
        context->sticky = status;
        s.last_fault = why;
    }
    s.changed.notify_all();
}

namespace {

constexpr size_t shared_reserved_per_block = 1 << 10;
constexpr int threads_per_multiprocessor = 2048;

// Shared memory of a multiprocessor, by compute capability: the "Technical Specifications per Compute Capability" of the programming guide.
size_t shared_per_multiprocessor(const Settings &s) {
    switch (10 * s.compute_major + s.compute_minor) {
        case 80:
        case 87: return 164 << 10;
        case 90:
        case 100:
        case 103:
        case 110: return 228 << 10;
        default: return s.compute_major < 8 ? 96 << 10 : 100 << 10;
    }
}

size_t max_shared_per_block(const Settings &s) { return shared_per_multiprocessor(s) - shared_reserved_per_block; }

// The virtual architecture of what a fatbin of sm_80, sm_90, sm_100 and PTX of compute_80 has for the device.
int ptx_version(const Settings &s) { return s.compute_major == 9 ? 90 : s.compute_major == 10 ? 100 : 80; }

bool is_device(const State &s, CUdevice device) { return device >= 0 && device < s.settings.devices; }

long long attribute(const Settings &s, int number, CUdevice device) {
    switch (number) {
        case 1: return 1024;                        // threads per block
        case 10: return 32;                         // warp
        case 13: return 1980000;                    // clock, kHz
        case 16: return s.multiprocessors;
        case 19: return 1;                          // can map host memory
        case 33: return 1 + device;                 // PCI bus
        case 36: return 2619000;                    // memory clock, kHz
        case 37: return 6144;                       // memory bus, bits
        case 38: return 50 << 20;                   // L2
        case 39: return threads_per_multiprocessor;
        case 41: return 1;                          // unified addressing
        case 75: return s.compute_major;
        case 76: return s.compute_minor;
        case 81: return static_cast<long long>(shared_per_multiprocessor(s));
        case 82: return 65536;                      // registers
        case 97: return static_cast<long long>(max_shared_per_block(s));
        default: return 0;                          // not integrated, default compute mode, nothing else
    }
}

// A fatbin, a cubin, PTX, or the word that tests use where there is no CUDA compiler.
bool is_image(const void *image) {
    unsigned magic;
    std::memcpy(&magic, image, sizeof magic);
    auto *text = static_cast<const char *>(image);
    return magic == 0xBA55ED50 || std::memcmp(image, "\177ELF", 4) == 0 || std::strncmp(text, "//", 2) == 0 || std::strncmp(text, ".version", 8) == 0;
}

bool on_device(const State &s, CUdeviceptr address, size_t bytes) {
    return current_context->memory.contains(address, bytes) || s.pinned.contains(address, bytes)
            || std::any_of(s.contexts.begin(), s.contexts.end(), [&](const auto &c) { return c->memory.contains(address, bytes); });
}

CUresult copy(State &s, CUstream stream, void *target, const void *source, size_t bytes) {
    s.counters.copies++;
    return enqueue(s, stream, [context = current_context, target, source, bytes] {
        if (context->sticky == 0) {
            std::memmove(target, source, bytes);
        }
    });
}

void *pointer(CUdeviceptr address) { return reinterpret_cast<void *>(address); }

}  // namespace
}  // namespace stub

using namespace stub;

CUresult cuInit(unsigned) {
    State &s = state();
    Guard guard(s.lock);
    if (s.settings.init_status != 0) {
        return static_cast<CUresult>(s.settings.init_status);
    }
    if (s.settings.devices == 0) {
        return CUDA_ERROR_NO_DEVICE;
    }
    s.initialized = true;
    while (s.contexts.size() < static_cast<size_t>(s.settings.devices)) {
        s.contexts.push_back(std::make_unique<CUctx_st>());
        s.contexts.back()->device = static_cast<int>(s.contexts.size()) - 1;
    }
    return CUDA_SUCCESS;
}

CUresult cuDriverGetVersion(int *version) {
    State &s = state();
    Guard guard(s.lock);
    *version = static_cast<int>(s.settings.driver_version);
    return CUDA_SUCCESS;
}

#define INITIALIZED()                      \
    State &s = state();                    \
    Guard guard(s.lock);                   \
    if (!s.initialized) {                  \
        return CUDA_ERROR_NOT_INITIALIZED; \
    }
#define DEVICE(device)                    \
    if (!is_device(s, device)) {          \
        return CUDA_ERROR_INVALID_DEVICE; \
    }

CUresult cuDeviceGetCount(int *count) {
    INITIALIZED();
    *count = static_cast<int>(s.settings.devices);
    return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    INITIALIZED();
    DEVICE(ordinal);
    *device = ordinal;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
    INITIALIZED();
    DEVICE(device);
    std::strncpy(name, "Millrace emulated device", static_cast<size_t>(length));
    name[length - 1] = 0;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, int number, CUdevice device) {
    INITIALIZED();
    DEVICE(device);
    *value = static_cast<int>(attribute(s.settings, number, device));
    return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
    INITIALIZED();
    DEVICE(device);
    *bytes = static_cast<size_t>(s.settings.memory_bytes);
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    INITIALIZED();
    DEVICE(device);
    *context = s.contexts[static_cast<size_t>(device)].get();
    (*context)->retained++;
    return CUDA_SUCCESS;
}

// The last release destroys what the context holds; that of a lost context is no more than counted.
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    INITIALIZED();
    DEVICE(device);
    CUcontext context = s.contexts[static_cast<size_t>(device)].get();
    if (context->retained == 0) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (--context->retained == 0) {
        wait_all(s, guard);
        std::set<CUstream> all = s.streams;
        for (CUstream stream : all) {
            if (stream->context == context) {
                close_stream(s, stream);
            }
        }
        context->memory.release_all();
        context->peers.clear();
    }
    return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) {
    INITIALIZED();
    current_context = context;
    return context == nullptr ? CUDA_SUCCESS : ready(s);
}

CUresult cuMemGetInfo_v2(size_t *free, size_t *total) {
    ENTER();
    *total = static_cast<size_t>(s.settings.memory_bytes);
    *free = *total - std::min(*total, current_context->memory.used());
    return CUDA_SUCCESS;
}

CUresult cuDeviceCanAccessPeer(int *can, CUdevice device, CUdevice peer) {
    INITIALIZED();
    DEVICE(device);
    DEVICE(peer);
    *can = device != peer;
    return CUDA_SUCCESS;
}

CUresult cuCtxEnablePeerAccess(CUcontext peer, unsigned) {
    ENTER();
    if (peer == current_context) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    return current_context->peers.insert(peer).second ? CUDA_SUCCESS : CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
}

CUresult cuModuleLoadData(CUmodule *module, const void *image) { return cuModuleLoadDataEx(module, image, 0, nullptr, nullptr); }

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned, int *, void **) {
    ENTER();
    NOT_IN_CAPTURE();
    if (!is_image(image)) {
        return CUDA_ERROR_INVALID_IMAGE;
    }
    if (s.settings.module_status != 0) {
        return static_cast<CUresult>(s.settings.module_status);
    }
    if (s.settings.no_binary != 0) {
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    }
    *module = new CUmod_st;
    (*module)->context = current_context;
    s.modules.insert(*module);
    s.counters.live_modules++;
    return CUDA_SUCCESS;
}

CUresult cuModuleUnload(CUmodule module) {
    ENTER();
    KNOWN(s.modules, module);
    s.modules.erase(module);
    s.counters.live_modules--;
    delete module;
    return CUDA_SUCCESS;
}

// Every module has every kernel: which of them its image holds is not looked at.
CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    ENTER();
    KNOWN(s.modules, module);
    const Kernel *kernel = find_kernel(name);
    if (kernel == nullptr) {
        return CUDA_ERROR_NOT_FOUND;
    }
    module->functions.push_back(std::make_unique<CUfunc_st>());
    *function = module->functions.back().get();
    (*function)->kernel = kernel;
    (*function)->context = current_context;
    return CUDA_SUCCESS;
}

CUresult cuFuncGetAttribute(int *value, int number, CUfunction function) {
    ENTER();
    switch (number) {
        case 0: *value = function->kernel->max_threads; break;
        case 5: *value = ptx_version(s.settings); break;
        case 6: *value = static_cast<int>(10 * s.settings.compute_major + s.settings.compute_minor); break;
        case 8: *value = function->max_dynamic_shared; break;
        default: *value = 0;  // no static shared memory, no local memory; registers are not simulated
    }
    return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction function, int number, int value) {
    ENTER();
    if (number != 8 || value < 0 || static_cast<size_t>(value) > max_shared_per_block(s.settings)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    function->max_dynamic_shared = value;
    return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int threads, size_t shared_bytes) {
    ENTER();
    if (threads < 1 || threads > function->kernel->max_threads || shared_bytes > static_cast<size_t>(function->max_dynamic_shared)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    size_t by_memory = shared_per_multiprocessor(s.settings) / (shared_bytes + shared_reserved_per_block);
    *blocks = static_cast<int>(std::min<size_t>({by_memory, static_cast<size_t>(threads_per_multiprocessor / threads), 32}));
    return CUDA_SUCCESS;
}

CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t bytes) {
    ENTER();
    NOT_IN_CAPTURE();
    if (bytes == 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (s.settings.fail_allocation > 0 && --s.settings.fail_allocation == 0) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *address = current_context->memory.allocate(bytes, static_cast<size_t>(s.settings.memory_bytes));
    if (*address == 0) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    s.counters.allocations++;
    s.counters.live_allocations++;
    s.counters.live_bytes += static_cast<long long>(bytes);
    return CUDA_SUCCESS;
}

CUresult cuMemFree_v2(CUdeviceptr address) {
    ENTER();
    NOT_IN_CAPTURE();
    wait_all(s, guard);
    Memory &memory = current_context->memory;
    auto found = memory.allocations().find(address);
    if (found == memory.allocations().end()) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    s.counters.live_allocations--;
    s.counters.live_bytes -= static_cast<long long>(found->second);
    memory.release(address);
    return current_context->sticky;
}

CUresult cuMemHostAlloc(void **memory, size_t bytes, unsigned) {
    ENTER();
    NOT_IN_CAPTURE();
    uintptr_t address = bytes == 0 ? 0 : s.pinned.allocate(bytes, size_t{1} << 40);
    if (address == 0) {
        return bytes == 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_OUT_OF_MEMORY;
    }
    *memory = reinterpret_cast<void *>(address);
    s.counters.live_pinned++;
    return CUDA_SUCCESS;
}

CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *address, void *memory, unsigned) {
    ENTER();
    if (!s.pinned.contains(reinterpret_cast<uintptr_t>(memory), 1)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *address = reinterpret_cast<CUdeviceptr>(memory);
    return CUDA_SUCCESS;
}

CUresult cuMemFreeHost(void *memory) {
    ENTER();
    NOT_IN_CAPTURE();
    wait_all(s, guard);
    if (!s.pinned.release(reinterpret_cast<uintptr_t>(memory))) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    s.counters.live_pinned--;
    return CUDA_SUCCESS;
}

// Nothing to set or copy is refused here, as CUDA may at an address where nothing lies.
CUresult cuMemsetD8Async(CUdeviceptr address, unsigned char value, size_t bytes, CUstream stream) {
    ENTER();
    STREAM(stream);
    if (bytes == 0 || !on_device(s, address, bytes)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    return enqueue(s, stream, [context = current_context, address, value, bytes] {
        if (context->sticky == 0) {
            std::memset(pointer(address), value, bytes);
        }
    });
}

// Pageable memory is read before the call returns, as CUDA does by way of a buffer of its own; pinned memory when the copy's turn comes.
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr target, const void *source, size_t bytes, CUstream stream) {
    ENTER();
    STREAM(stream);
    if (bytes == 0 || !on_device(s, target, bytes)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (stream->capture || s.pinned.contains(reinterpret_cast<uintptr_t>(source), bytes)) {
        return copy(s, stream, pointer(target), source, bytes);
    }
    s.counters.copies++;
    auto *from = static_cast<const unsigned char *>(source);
    auto staged = std::make_shared<std::vector<unsigned char>>(from, from + bytes);
    return enqueue(s, stream, [context = current_context, staged, target] {
        if (context->sticky == 0) {
            std::memcpy(pointer(target), staged->data(), staged->size());
        }
    });
}

CUresult cuMemcpyDtoHAsync_v2(void *target, CUdeviceptr source, size_t bytes, CUstream stream) {
    ENTER();
    STREAM(stream);
    if (bytes == 0 || !on_device(s, source, bytes)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    CUresult result = copy(s, stream, target, pointer(source), bytes);
    // To pageable memory the call returns when the bytes are there.
    if (!stream->capture && !s.pinned.contains(reinterpret_cast<uintptr_t>(target), bytes)) {
        wait_idle(s, guard, stream);
        return current_context->sticky;
    }
    return result;
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr target, CUdeviceptr source, size_t bytes, CUstream stream) {
    ENTER();
    STREAM(stream);
    if (bytes == 0 || !on_device(s, target, bytes) || !on_device(s, source, bytes)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    return copy(s, stream, pointer(target), pointer(source), bytes);
}

CUresult mr_stub_enqueue(CUstream stream, void (*run)(const void *), const void *data, size_t bytes) {
    ENTER();
    STREAM(stream);
    auto *from = static_cast<const unsigned char *>(data);
    return enqueue(s, stream, [context = current_context, run, copy = std::vector<unsigned char>(from, from + bytes)] {
        if (context->sticky == 0) {
            run(copy.data());
        }
    });
}

int mr_stub_on_device(const void *address, size_t bytes) {
    State &s = state();
    Guard guard(s.lock);
    return current_context != nullptr && on_device(s, reinterpret_cast<CUdeviceptr>(address), bytes);
}

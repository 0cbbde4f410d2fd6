// Launches: the kernel's parameters are copied at the call; the emulator runs it when its turn on the stream comes.
#include <cstring>

#include "emulator.h"
#include "enter.h"

using namespace stub;

namespace {

int status_of(emu::FaultKind kind) {
    switch (kind) {
        case emu::FaultKind::global_bounds:
        case emu::FaultKind::shared_bounds: return CUDA_ERROR_ILLEGAL_ADDRESS;
        case emu::FaultKind::misaligned: return CUDA_ERROR_MISALIGNED_ADDRESS;
        default: return CUDA_ERROR_LAUNCH_FAILED;
    }
}

// What kernels of the context may touch, as this thread's emulator knows it; renewed when the allocations have changed.
void learn_memory(State &s, CUcontext context) {
    thread_local std::vector<std::pair<const Memory *, uint64_t>> known;
    std::vector<std::pair<const Memory *, uint64_t>> now = {{&context->memory, context->memory.version()}, {&s.pinned, s.pinned.version()}};
    for (CUcontext peer : context->peers) {
        now.emplace_back(&peer->memory, peer->memory.version());
    }
    if (now == known) {
        return;
    }
    emu::global_memory = emu::GlobalMemory();
    for (const auto &[memory, version] : now) {
        for (const auto &[address, bytes] : memory->allocations()) {
            emu::global_memory.add(reinterpret_cast<const void *>(address), bytes);
        }
    }
    known = std::move(now);
}

enum class Injected { none, fault, hang };

void run(CUcontext context, const Kernel &kernel, const emu::Launch &launch, const std::vector<unsigned char> &parameters) {
    State &s = state();
    Injected injected = Injected::none;
    int status;
    long long millis;
    {
        Guard guard(s.lock);
        if (context->sticky != 0) {
            return;
        }
        s.counters.launches++;
        if (s.settings.fail_launch > 0 && --s.settings.fail_launch == 0) {
            injected = Injected::fault;
        }
        if (s.settings.hang_launch > 0 && --s.settings.hang_launch == 0) {
            injected = Injected::hang;
        }
        status = static_cast<int>(s.settings.fail_status);
        millis = s.settings.hang_millis;
        learn_memory(s, context);
    }
    if (injected == Injected::hang) {
        std::this_thread::sleep_for(std::chrono::milliseconds(millis));
        poison(context, CUDA_ERROR_LAUNCH_TIMEOUT, std::string(kernel.name) + " did not end in " + std::to_string(millis) + " ms, as a test asked");
        return;
    }
    if (injected == Injected::fault) {
        poison(context, status, std::string(kernel.name) + " failed, as a test asked");
        return;
    }
    try {
        kernel.run(launch, parameters.data());
    } catch (const emu::Fault &fault) {
        poison(context, status_of(fault.kind), std::string(kernel.name) + ": " + fault.what());
        return;
    }
    std::string overrun;
    {
        Guard guard(s.lock);
        overrun = context->memory.overrun() + s.pinned.overrun();
    }
    if (!overrun.empty()) {
        poison(context, CUDA_ERROR_ILLEGAL_ADDRESS, std::string(kernel.name) + ": " + overrun);
    }
}

}  // namespace

CUresult cuLaunchKernelEx(const CUlaunchConfig *c, CUfunction function, void **parameters, void **extra) {
    ENTER();
    CUstream stream = c->hStream;
    STREAM(stream);
    const Kernel &kernel = *function->kernel;
    emu::Launch launch;
    launch.grid = dim3(c->gridDimX, c->gridDimY, c->gridDimZ);
    launch.block = dim3(c->blockDimX, c->blockDimY, c->blockDimZ);
    launch.shared_bytes = c->sharedMemBytes;
    bool attributes = true;
    for (unsigned i = 0; i < c->numAttrs; i++) {
        attributes &= static_cast<int>(c->attrs[i].id) == 6;  // programmatic stream serialization
    }
    if (c->gridDimX == 0 || c->gridDimY == 0 || c->gridDimZ == 0 || c->gridDimY > 65535 || c->gridDimZ > 65535 || launch.block.count() == 0
        || launch.block.count() > static_cast<unsigned>(kernel.max_threads) || c->sharedMemBytes > static_cast<unsigned>(function->max_dynamic_shared)
        || function->context != current_context || parameters == nullptr || extra != nullptr || !attributes) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (stream->capture && (s.settings.fail_capture != 0 || (c->numAttrs > 0 && s.settings.programmatic_capture < 1))) {
        stream->capture_broken |= s.settings.fail_capture != 0 || s.settings.programmatic_capture < 0;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    s.counters.programmatic_launches += c->numAttrs > 0;
    auto *bytes = static_cast<const unsigned char *>(parameters[0]);
    std::vector<unsigned char> copied(bytes, bytes + kernel.parameter_bytes);
    return enqueue(s, stream, [context = current_context, &kernel, launch, copied = std::move(copied)] { run(context, kernel, launch, copied); });
}

CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
        unsigned block_z, unsigned shared_bytes, CUstream stream, void **parameters, void **extra) {
    CUlaunchConfig config = {grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes, stream, nullptr, 0};
    return cuLaunchKernelEx(&config, function, parameters, extra);
}

// How the functions of the interface begin.
#pragma once
#include "machine_state.h"

#define ENTER()                        \
    stub::State &s = stub::state();    \
    stub::Guard guard(s.lock);         \
    if (CUresult r = stub::ready(s)) { \
        return r;                      \
    }
#define STREAM(name)                      \
    name = stub::find_stream(s, name);    \
    if (name == nullptr) {                \
        return CUDA_ERROR_INVALID_HANDLE; \
    }
#define KNOWN(set, handle)                \
    if ((set).count(handle) == 0) {       \
        return CUDA_ERROR_INVALID_HANDLE; \
    }
#define NOT_IN_CAPTURE()                              \
    if (stub::breaks_capture(s)) {                    \
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED; \
    }

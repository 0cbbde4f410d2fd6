// The emulated kernels by name.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "machine.h"

namespace stub {

struct Kernel {
    const char *name;
    size_t parameter_bytes;
    int max_threads;  // its launch bounds
    void (*run)(const emu::Launch &launch, const void *parameters);
};

// Null for an unknown name.
const Kernel *find_kernel(const std::string &name);
const std::vector<Kernel> &all_kernels();

}  // namespace stub

#include "memory.h"

#include <cstdlib>
#include <cstring>
#include <iterator>

namespace stub {

namespace {
constexpr size_t alignment = 512;
constexpr size_t guard = 512;
constexpr unsigned char guard_byte = 0xA5;
constexpr unsigned char poison_byte = 0xFF;  // NaN in every float format, -1 as an integer

size_t rounded(size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

// Offset of the first byte that is not a guard byte, or `bytes`.
size_t first_written(const unsigned char *p, size_t bytes) {
    if (p[0] == guard_byte && std::memcmp(p, p + 1, bytes - 1) == 0) {
        return bytes;
    }
    size_t i = 0;
    while (i < bytes && p[i] == guard_byte) {
        i++;
    }
    return i;
}
}  // namespace

uintptr_t Memory::allocate(size_t bytes, size_t limit) {
    size_t charged = rounded(bytes);
    if (charged < bytes || charged > limit || used_ > limit - charged) {
        return 0;
    }
    auto *block = static_cast<unsigned char *>(std::aligned_alloc(alignment, guard + charged + guard));
    if (block == nullptr) {
        return 0;
    }
    std::memset(block, guard_byte, guard);
    std::memset(block + guard, poison_byte, bytes);
    std::memset(block + guard + bytes, guard_byte, charged - bytes + guard);
    used_ += charged;
    version_++;
    auto address = reinterpret_cast<uintptr_t>(block) + guard;
    allocations_[address] = bytes;
    return address;
}

bool Memory::release(uintptr_t address) {
    auto found = allocations_.find(address);
    if (found == allocations_.end()) {
        return false;
    }
    std::memset(reinterpret_cast<void *>(address), poison_byte, found->second);
    std::free(reinterpret_cast<void *>(address - guard));
    used_ -= rounded(found->second);
    version_++;
    allocations_.erase(found);
    return true;
}

void Memory::release_all() {
    while (!allocations_.empty()) {
        release(allocations_.begin()->first);
    }
}

bool Memory::contains(uintptr_t address, size_t bytes) const {
    auto after = allocations_.upper_bound(address);
    if (after == allocations_.begin()) {
        return false;
    }
    const auto &[begin, size] = *std::prev(after);
    return address - begin <= size && bytes <= size - (address - begin);
}

std::string Memory::overrun() const {
    for (const auto &[address, bytes] : allocations_) {
        auto *begin = reinterpret_cast<const unsigned char *>(address);
        size_t tail = rounded(bytes) - bytes + guard;
        size_t before = first_written(begin - guard, guard);
        size_t behind = first_written(begin + bytes, tail);
        if (before < guard || behind < tail) {
            return "an allocation of " + std::to_string(bytes) + " bytes was written "
                    + (before < guard ? std::to_string(guard - before) + " bytes before its begin" : std::to_string(behind) + " bytes behind its end");
        }
    }
    return "";
}

}  // namespace stub

// Memory of one device and pinned host memory: tracked, bounded, poisoned when fresh, with guards on both sides that must stay as they are.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace stub {

class Memory {
  public:
    // 0 if that would be more than `limit` in all.
    uintptr_t allocate(size_t bytes, size_t limit);
    // False if nothing was allocated at this address.
    bool release(uintptr_t address);
    void release_all();
    bool contains(uintptr_t address, size_t bytes) const;
    // In words, the first allocation whose guards were written; "" if there is none.
    std::string overrun() const;

    size_t used() const { return used_; }
    const std::map<uintptr_t, size_t> &allocations() const { return allocations_; }
    // Changes whenever the allocations do.
    uint64_t version() const { return version_; }

  private:
    std::map<uintptr_t, size_t> allocations_;
    size_t used_ = 0;
    uint64_t version_ = 1;
};

}  // namespace stub

// Shared memory as checked pointers, and global memory as registered buffers.
#pragma once
#include <cstring>
#include <map>
#include <type_traits>

#include "machine.h"

struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }

namespace emu {

inline size_t checked(size_t offset, size_t bytes, size_t alignment, Site site) {
    if (offset > machine.launch->shared_bytes || bytes > machine.launch->shared_bytes - offset) {
        fail(FaultKind::shared_bounds, "access to " + std::to_string(bytes) + " bytes at " + std::to_string(static_cast<ptrdiff_t>(offset))
                + " of shared memory of " + std::to_string(machine.launch->shared_bytes), site);
    }
    if (offset % alignment != 0) {
        fail(FaultKind::misaligned, "access to shared memory at " + std::to_string(offset) + ", which is no multiple of "
                + std::to_string(alignment), site);
    }
    return offset;
}

// An element of shared memory: reading and writing it goes through the shadow.
template <class T>
class SharedElement {
  public:
    SharedElement(size_t offset, Site site) : offset_(offset), site_(site) {}

    operator std::remove_const_t<T>() const {
        std::remove_const_t<T> value;
        size_t at = checked(offset_, sizeof(T), alignof(T), site_);
        current->block->shadow.read(at, sizeof(T), accessor(), site_);
        std::memcpy(&value, current->block->shared + at, sizeof(T));
        return value;
    }
    const SharedElement &operator=(const T &value) const {
        size_t at = checked(offset_, sizeof(T), alignof(T), site_);
        current->block->shadow.write(at, sizeof(T), accessor(), site_);
        std::memcpy(current->block->shared + at, &value, sizeof(T));
        return *this;
    }
    const SharedElement &operator=(const SharedElement &other) const { return *this = static_cast<T>(other); }
    const SharedElement &operator+=(const T &value) const { return *this = static_cast<T>(*this) + value; }

  private:
    size_t offset_;
    Site site_;
};

// Stands for T* into shared memory. Out-of-range pointers may be formed, as on the device; touching them is a fault.
template <class T>
class Shared {
  public:
    Shared() = default;
    explicit Shared(size_t offset) : offset_(offset) {}
    template <class U, class = std::enable_if_t<std::is_same_v<const U, T>>>
    Shared(const Shared<U> &other) : offset_(other.offset()) {}

    size_t offset() const { return offset_; }
    // The site is that of the index: operators cannot have default arguments, so an index remembers where it was made.
    struct Index {
        ptrdiff_t value;
        Site site;
        template <class I, class = std::enable_if_t<std::is_integral_v<I>>>
        Index(I i, Site s = Site::here()) : value(static_cast<ptrdiff_t>(i)), site(s) {}
    };
    SharedElement<T> operator[](Index i) const { return {offset_ + i.value * sizeof(T), i.site}; }
    Shared operator+(ptrdiff_t n) const { return Shared(offset_ + n * sizeof(T)); }
    Shared operator-(ptrdiff_t n) const { return Shared(offset_ - n * sizeof(T)); }

  private:
    size_t offset_ = 0;
};

// Buffers of global memory that kernels may touch, with vector accesses and asynchronous copies checked against them. Scalar accesses are
// ordinary C++: the address sanitizer and the tests' guard zones see to them.
class GlobalMemory {
  public:
    void add(const void *begin, size_t bytes) { buffers_[reinterpret_cast<uintptr_t>(begin)] = bytes; }
    void remove(const void *begin) { buffers_.erase(reinterpret_cast<uintptr_t>(begin)); }

    void check(const void *pointer, size_t bytes, Site site) const {
        auto address = reinterpret_cast<uintptr_t>(pointer);
        if (address % bytes != 0) {
            fail(FaultKind::misaligned, "vector access to global memory off its alignment of " + std::to_string(bytes), site);
        }
        auto after = buffers_.upper_bound(address);
        if (after == buffers_.begin() || address + bytes > std::prev(after)->first + std::prev(after)->second) {
            fail(FaultKind::global_bounds, "access to " + std::to_string(bytes) + " bytes of global memory outside every buffer", site);
        }
    }

  private:
    std::map<uintptr_t, size_t> buffers_;
};

extern thread_local GlobalMemory global_memory;

// cp.async: the bytes arrive at the wait and not before.
inline void start_copy(size_t offset, const void *source, unsigned bytes, Site site) {
    checked(offset, bytes, bytes, site);
    if (source != nullptr) {
        global_memory.check(source, bytes, site);
    }
    current->block->shadow.begin_copy(offset, bytes, accessor(), site);
    std::memset(current->block->shared + offset, 0xEE, bytes);
    current->copies.push_back({offset, source, bytes, current->copy_group});
}

inline void commit_copies() { current->copy_group++; }

// Lands all groups but the `pending` latest. Only the issuing thread sees them then: others need a barrier as well.
inline void land_copies(unsigned pending) {
    std::vector<Copy> &copies = current->copies;
    size_t kept = 0;
    for (const Copy &c : copies) {
        if (c.group + pending >= current->copy_group) {
            copies[kept++] = c;
            continue;
        }
        if (c.source != nullptr) {
            std::memcpy(current->block->shared + c.offset, c.source, c.bytes);
        } else {
            std::memset(current->block->shared + c.offset, 0, c.bytes);
        }
        current->block->shadow.end_copy(c.offset, c.bytes, accessor());
    }
    copies.resize(kept);
}

}  // namespace emu

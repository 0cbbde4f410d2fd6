/* Large zeroed memory straight from the system: pages come with first use, on huge pages where there are any. */
#define _GNU_SOURCE
#include "internal.h"

#include <sys/mman.h>

#define HUGE_PAGE (2 << 20)

void *mr_memory_allocate(int64_t bytes) {
    if (bytes <= 0) {
        return NULL;
    }
    void *data = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) {
        return NULL;
    }
#if defined(MADV_HUGEPAGE)
    if (bytes >= HUGE_PAGE) {
        (void)madvise(data, (size_t)bytes, MADV_HUGEPAGE); /* a hint: weights are read end to end, fewer page walks */
    }
#endif
    return data;
}

void mr_memory_free(void *data, int64_t bytes) {
    if (data != NULL && bytes > 0) {
        munmap(data, (size_t)bytes);
    }
}

// Memory of ggml's buffers in large pages, where the system gives them to who asks: weights and caches are read from end to end,
// and with pages of 4 KiB the processor looks up 512 times as often where they are. (Attention over 2,048 places of SmolLM2's
// cache, which reads a page in strides, takes 0.7 of the time so.)
//
// Called in place of ggml's function that allocates them (few_rows.cmake).

#include "ggml-impl.h"

#include <cstddef>
#include <cstdint>

#ifdef __linux__
#    include <sys/mman.h>
#    include <unistd.h>
#endif

extern "C" void * edgespec_aligned_malloc(size_t size);

void * edgespec_aligned_malloc(size_t size) {
    void * memory = ggml_aligned_malloc(size);
#ifdef MADV_HUGEPAGE
    // Smaller buffers have no place for such a page, or little to gain.
    constexpr size_t LEAST_BYTES = 4 * 1024 * 1024;
    if (memory != nullptr && size >= LEAST_BYTES) {
        const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)), from = reinterpret_cast<uintptr_t>(memory);
        const uintptr_t first = (from + page - 1) / page * page, end = (from + size) / page * page;
        madvise(reinterpret_cast<void *>(first), end - first, MADV_HUGEPAGE);
    }
#endif
    return memory;
}

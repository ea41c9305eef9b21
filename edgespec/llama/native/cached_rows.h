// Rows of one KV head, as attention reads them: in the cache, or made floats in memory.

#pragma once

#include "cache_types.h"

#include <cstdint>

namespace few_rows {

// Places of the cache that are handled at once.
constexpr int PLACES = 64;

// Asks for a row that comes PLACES rows later. Rows of one head lie apart, by all heads of a place, and the processor does not
// read ahead of such jumps by itself. One at a time, while others are computed with: were all of a block asked for at once, nothing
// would be computed until memory has taken the last of these questions.
inline void ask(const char * row, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += 64) {
        prefetch(row + i);
    }
}

// Rows of one KV head in the cache, of the places at hand.
template <typename Type>
struct CachedRows {
    using Cache = Type;
    const char * first;
    const int64_t * offsets;

    // The row of place `j`, of which `floats` from number `d` on will be read.
    const char * read(int j, int64_t d, int64_t floats) const {
        ask(first + offsets[j + PLACES] + Cache::bytes(d), Cache::bytes(floats));
        return first + offsets[j];
    }
};

// Their floats from number `column` on, in memory, from place `place` on.
struct UnpackedRows {
    using Cache = FloatCache;
    const float * first;
    int64_t columns, column;
    int place;

    const char * read(int j, int64_t, int64_t) const {
        return reinterpret_cast<const char *>(first + (j - place) * columns - column);
    }
};

}  // namespace few_rows

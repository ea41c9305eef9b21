#pragma once

#include "repack.h"
#include "simd-mappings.h"

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace few_rows {

// The quantized rows of one product: `count` rows of `blocks` Q8_K blocks each.
struct Rows {
    const block_q8_K * data;
    int64_t blocks;
    int64_t count;

    const block_q8_K & at(int64_t row, int64_t block) const { return data[row * blocks + block]; }
};

// What a kernel needs of 32 values beside themselves.
struct Scale {
    float d;
    int32_t sum;
};

// The same in Q8_0 blocks of 32 values.
struct SmallRows {
    const block_q8_0 * data;
    const Scale * scales;
    int64_t blocks;
    int64_t count;

    const int8_t * values(int64_t row, int64_t block) const { return data[row * blocks + block].qs; }
    const Scale & scale(int64_t row, int64_t block) const { return scales[row * blocks + block]; }
};

// Rows in Q8_1 blocks of 32 values; scales and sums (a scale times the sum of its values) as floats, `stride` a row, which is
// a multiple of eight and filled up with zeros.
struct RowsWithSums {
    const block_q8_1 * data;
    const float * scales;
    const float * sums;
    int64_t blocks;
    int64_t stride;
    int64_t count;

    const int8_t * values(int64_t row, int64_t block) const { return data[row * blocks + block].qs; }
};

// The sums of sub-blocks 2 * pair and 2 * pair + 1, as one word for a dot product of two.
inline int32_t sums_of_pair(const block_q8_K & row, int pair) {
    int32_t word;
    std::memcpy(&word, row.bsums + 2 * pair, sizeof word);
    return word;
}

// The two floats that a block begins with, in half precision there: lanes 0 and 1.
template <typename Block>
__m128 first_two(const Block & block) {
    int32_t both;
    std::memcpy(&both, &block, sizeof both);
    return _mm_cvtph_ps(_mm_cvtsi32_si128(both));
}

// How far ahead of their use weights are asked for, into the second-level cache: the first one has too few places for reads
// on their way, and 2 KiB ahead is less than memory takes under load (Zen 4: two rows 35 ms so, and 29 ms like this). Several
// rows keep the arithmetic busy for so long that the processor falls behind with its own reading ahead; one row leaves
// that to it.
constexpr size_t AHEAD_BYTES = 16384;

template <int N, typename Block>
void prefetch_after(const Block & block) {
    if constexpr (N > 1) {
        const char * from = reinterpret_cast<const char *>(&block) + AHEAD_BYTES;
        for (size_t at = 0; at < sizeof(Block); at += 64) {
            _mm_prefetch(from + at, _MM_HINT_T1);
        }
    }
}

inline float add_lanes(__m256 lanes) {
    __m128 sum = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));
    sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
    return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}

}  // namespace few_rows

// Vectors of bytes, whole numbers and floats, under one name for every instruction set: the one place of their intrinsics.
//
// Each of simd_*.h has
//   SIMD_WIDTH    floats or whole numbers of 32 bits in a vector, and REGISTERS vectors at hand
//   prefetch      into the nearest cache, and prefetch_far into the second-level one
//   shift_down    of bytes or of words of 16 bits: what comes from a neighbour has to be masked; so has shift_up
//   look_up       sixteen bytes (table_of), by each byte, which is below 16
//   pairs_of_unsigned  two words to a lane, of two bytes each; dot_pairs adds their products with such a pair
//   add_small_product  of lanes that fit into words: their sign extension is all that the upper half has
//   store_rounded to whole numbers of -127 to 127
//   bits_unlike   a bit for each of 64 words that is another one than `word`
//   fold_four     of each four lanes the sums of `a`, `b`, `c` and `d`; join_folded the sums of SIMD_WIDTH vectors, from these
//   add_dots      COUNT products of four unsigned weights below 2^BITS, in each lane, with four signed values of each of N rows,
//                 which are `stride` apart; weights of eight bits are taken to be 128 - TOO_HIGH less

#pragma once

#define GGML_COMMON_DECL_CPP
#define GGML_COMMON_IMPL_CPP
#include "ggml-common.h"

#include "ggml-cpu-impl.h"
#include "simd-mappings.h"
#include "vec.h"

#include <cstdint>
#include <cstring>

namespace few_rows {

inline int32_t four_values(const int8_t * values) {
    int32_t word;
    std::memcpy(&word, values, sizeof word);
    return word;
}

}  // namespace few_rows

#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#    include "simd_avx512.h"
#elif defined(__AVX2__)
#    include "simd_avx2.h"
#else
#    include "simd_neon.h"
#endif

#if defined(__x86_64__) && !defined(__AVX512VNNI__) && !defined(__AVXVNNI__)
#    include "simd_words.h"
#endif

namespace few_rows {

// In a register from here on. GCC else reads what is multiplied several times from memory each time, and a processor with AVX-512
// has as many products as loads.
inline FloatVector held(FloatVector lanes) {
#if defined(__GNUC__) && defined(__x86_64__)
    asm("" : "+v"(lanes));
#endif
    return lanes;
}

inline FloatVector floats_of_signed(const int8_t * bytes) { return floats_of(ints_of_signed(bytes)); }

// The first lanes, or all of them where `count` is more.
inline void store_first(float * to, FloatVector lanes, int64_t count) {
    if (count >= SIMD_WIDTH) {
        store(to, lanes);
        return;
    }
    alignas(64) float all[SIMD_WIDTH];
    store(all, lanes);
    std::memcpy(to, all, count * sizeof(float));
}

// The sum of one vector's lanes.
inline float add_up(FloatVector lanes) {
    alignas(64) float all[SIMD_WIDTH];
    store(all, lanes);
    float sum = 0.0f;
    for (float lane : all) {
        sum += lane;
    }
    return sum;
}

}  // namespace few_rows

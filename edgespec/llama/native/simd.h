// The widest vector of floats here, under one name for both instruction sets.

#pragma once

#include "ggml-cpu-impl.h"
#include "simd-mappings.h"
#include "vec.h"

#include <immintrin.h>

namespace few_rows {

// Into the nearest cache.
inline void prefetch(const void * from) { _mm_prefetch(static_cast<const char *>(from), _MM_HINT_T0); }

#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__)

using FloatVector = __m512;
constexpr int SIMD_WIDTH = 16;

inline FloatVector broadcast(float value) { return _mm512_set1_ps(value); }
inline FloatVector load(const float * from) { return _mm512_loadu_ps(from); }
inline FloatVector load_half(const ggml_fp16_t * from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(from)));
}
inline FloatVector broadcast_half(uint16_t value) { return _mm512_cvtph_ps(_mm256_set1_epi16(static_cast<short>(value))); }
inline void store(float * to, FloatVector lanes) { _mm512_storeu_ps(to, lanes); }
inline FloatVector multiply(FloatVector a, FloatVector b) { return _mm512_mul_ps(a, b); }
inline FloatVector add(FloatVector a, FloatVector b) { return _mm512_add_ps(a, b); }
inline FloatVector multiply_add(FloatVector a, FloatVector b, FloatVector sum) { return _mm512_fmadd_ps(a, b, sum); }
inline FloatVector larger(FloatVector a, FloatVector b) { return _mm512_max_ps(a, b); }
inline FloatVector smaller(FloatVector a, FloatVector b) { return _mm512_min_ps(a, b); }
// To whole numbers of -127 to 127.
inline void store_rounded(int8_t * to, FloatVector lanes) {
    _mm_storeu_si128(reinterpret_cast<__m128i *>(to), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(lanes)));
}
inline float largest(FloatVector lanes) { return _mm512_reduce_max_ps(lanes); }
inline bool any_above(FloatVector lanes, float limit) { return _mm512_cmp_ps_mask(lanes, broadcast(limit), _CMP_GT_OQ) != 0; }
// A bit for each of 64 words that is another one than `word`.
inline uint64_t bits_unlike(const uint16_t * words, uint16_t word) {
    const __m512i like = _mm512_set1_epi16(static_cast<short>(word));
    const uint64_t low = _mm512_cmpneq_epi16_mask(_mm512_loadu_si512(words), like);
    const uint64_t high = _mm512_cmpneq_epi16_mask(_mm512_loadu_si512(words + 32), like);
    return low | high << 32;
}
inline FloatVector floats_of_signed(const int8_t * bytes) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(bytes))));
}
inline FloatVector neighbours(FloatVector a, FloatVector b) {
    return add(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
}
// Of each four lanes the sums of `a`, `b`, `c` and `d`.
inline FloatVector fold_four(FloatVector a, FloatVector b, FloatVector c, FloatVector d) {
    const __m512d first = _mm512_castps_pd(neighbours(a, b)), second = _mm512_castps_pd(neighbours(c, d));
    return add(_mm512_castpd_ps(_mm512_unpacklo_pd(first, second)), _mm512_castpd_ps(_mm512_unpackhi_pd(first, second)));
}
// The sums of SIMD_WIDTH vectors, from what fold_four made of each four of them.
inline FloatVector join_folded(const FloatVector (&folded)[SIMD_WIDTH / 4]) {
    const auto halve = [](FloatVector a, FloatVector b) {
        return add(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
    };
    return halve(halve(folded[0], folded[1]), halve(folded[2], folded[3]));
}

#else

using FloatVector = __m256;
constexpr int SIMD_WIDTH = 8;

inline FloatVector broadcast(float value) { return _mm256_set1_ps(value); }
inline FloatVector load(const float * from) { return _mm256_loadu_ps(from); }
inline FloatVector load_half(const ggml_fp16_t * from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from)));
}
inline FloatVector broadcast_half(uint16_t value) { return _mm256_cvtph_ps(_mm_set1_epi16(static_cast<short>(value))); }
inline void store(float * to, FloatVector lanes) { _mm256_storeu_ps(to, lanes); }
inline FloatVector multiply(FloatVector a, FloatVector b) { return _mm256_mul_ps(a, b); }
inline FloatVector add(FloatVector a, FloatVector b) { return _mm256_add_ps(a, b); }
inline FloatVector multiply_add(FloatVector a, FloatVector b, FloatVector sum) { return _mm256_fmadd_ps(a, b, sum); }
inline FloatVector larger(FloatVector a, FloatVector b) { return _mm256_max_ps(a, b); }
inline FloatVector smaller(FloatVector a, FloatVector b) { return _mm256_min_ps(a, b); }
inline void store_rounded(int8_t * to, FloatVector lanes) {
    const __m256i whole = _mm256_cvtps_epi32(lanes);
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i *>(to), _mm_packs_epi16(words, words));
}
inline float largest(FloatVector lanes) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
inline bool any_above(FloatVector lanes, float limit) {
    return _mm256_movemask_ps(_mm256_cmp_ps(lanes, broadcast(limit), _CMP_GT_OQ)) != 0;
}
inline uint64_t bits_unlike(const uint16_t * words, uint16_t word) {
    const __m256i like = _mm256_set1_epi16(static_cast<short>(word));
    const auto is_like = [&](int from) {
        return _mm256_cmpeq_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(words + from)), like);
    };
    uint64_t bits = 0;
    for (int from = 0; from < 64; from += 32) {
        const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packs_epi16(is_like(from), is_like(from + 16)), 0xd8);
        bits |= static_cast<uint64_t>(static_cast<uint32_t>(~_mm256_movemask_epi8(bytes))) << from;
    }
    return bits;
}
inline FloatVector floats_of_signed(const int8_t * bytes) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(bytes))));
}
inline FloatVector neighbours(FloatVector a, FloatVector b) {
    return add(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
}
inline FloatVector fold_four(FloatVector a, FloatVector b, FloatVector c, FloatVector d) {
    const __m256d first = _mm256_castps_pd(neighbours(a, b)), second = _mm256_castps_pd(neighbours(c, d));
    return add(_mm256_castpd_ps(_mm256_unpacklo_pd(first, second)), _mm256_castpd_ps(_mm256_unpackhi_pd(first, second)));
}
inline FloatVector join_folded(const FloatVector (&folded)[SIMD_WIDTH / 4]) {
    return add(_mm256_permute2f128_ps(folded[0], folded[1], 0x20), _mm256_permute2f128_ps(folded[0], folded[1], 0x31));
}

#endif

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

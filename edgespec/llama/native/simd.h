// The widest vector of floats here, under one name for both instruction sets.

#pragma once

#include "ggml-cpu-impl.h"
#include "simd-mappings.h"
#include "vec.h"

#include <immintrin.h>

namespace few_rows {

#if defined(__AVX512F__) && defined(__AVX512DQ__)

using FloatVector = __m512;
constexpr int SIMD_WIDTH = 16;

inline FloatVector broadcast(float value) { return _mm512_set1_ps(value); }
inline FloatVector load(const float * from) { return _mm512_loadu_ps(from); }
inline FloatVector load_half(const ggml_fp16_t * from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(from)));
}
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
inline __m256 fold(FloatVector lanes) {
    return _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
}

#else

using FloatVector = __m256;
constexpr int SIMD_WIDTH = 8;

inline FloatVector broadcast(float value) { return _mm256_set1_ps(value); }
inline FloatVector load(const float * from) { return _mm256_loadu_ps(from); }
inline FloatVector load_half(const ggml_fp16_t * from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from)));
}
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
inline __m256 fold(FloatVector lanes) { return lanes; }

#endif

// The four sums of four vectors.
inline __m128 add_up(FloatVector a, FloatVector b, FloatVector c, FloatVector d) {
    const __m256 by_two = _mm256_hadd_ps(fold(a), fold(b)), others = _mm256_hadd_ps(fold(c), fold(d));
    const __m256 by_four = _mm256_hadd_ps(by_two, others);
    return _mm_add_ps(_mm256_castps256_ps128(by_four), _mm256_extractf128_ps(by_four, 1));
}

// The sum of one.
inline float add_up(FloatVector lanes) {
    const FloatVector none = broadcast(0.0f);
    return _mm_cvtss_f32(add_up(lanes, none, none, none));
}

}  // namespace few_rows

// AVX-512 (simd.h): 32 registers of 16 lanes. Without VNNI products of bytes take three instructions for one.

#pragma once

#include <immintrin.h>

namespace few_rows {

constexpr int SIMD_WIDTH = 16, REGISTERS = 32;

using Bytes = __m512i;
using Ints = __m512i;
using FloatVector = __m512;

inline void prefetch(const void * from) { _mm_prefetch(static_cast<const char *>(from), _MM_HINT_T0); }
inline void prefetch_far(const void * from) { _mm_prefetch(static_cast<const char *>(from), _MM_HINT_T1); }

inline Bytes load_bytes(const void * from) { return _mm512_loadu_si512(from); }
inline void store_bytes(void * to, Bytes bytes) { _mm512_storeu_si512(to, bytes); }
inline Bytes all_bytes(int value) { return _mm512_set1_epi8(static_cast<char>(value)); }
inline Bytes and_bytes(Bytes a, Bytes b) { return _mm512_and_si512(a, b); }
inline Bytes or_bytes(Bytes a, Bytes b) { return _mm512_or_si512(a, b); }
inline Bytes shift_down(Bytes a, int bits) { return _mm512_srli_epi16(a, static_cast<unsigned>(bits)); }
inline Bytes shift_up(Bytes a, int bits) { return _mm512_slli_epi16(a, static_cast<unsigned>(bits)); }
inline Bytes table_of(const uint8_t * sixteen) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i *>(sixteen)));
}
inline Bytes look_up(Bytes table, Bytes at) { return _mm512_shuffle_epi8(table, at); }

inline Ints all_ints(int32_t value) { return _mm512_set1_epi32(value); }
inline Ints ints_of_signed(const void * bytes) {
    return _mm512_cvtepi8_epi32(_mm_loadu_si128(static_cast<const __m128i *>(bytes)));
}
inline Ints ints_of_unsigned(const void * bytes) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i *>(bytes)));
}
inline Ints ints_of_words(const uint16_t * words) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(words)));
}
inline Ints pairs_of_unsigned(const void * bytes) {
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256(static_cast<const __m256i *>(bytes)));
}
inline Ints add_ints(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
inline Ints multiply_ints(Ints a, Ints b) { return _mm512_mullo_epi32(a, b); }
inline Ints low_words(Ints ints) { return _mm512_and_si512(ints, _mm512_set1_epi32(0xffff)); }
inline Ints shift_ints_up(Ints ints, int bits) { return _mm512_slli_epi32(ints, static_cast<unsigned>(bits)); }

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
inline FloatVector subtract_product(FloatVector a, FloatVector b, FloatVector sum) { return _mm512_fnmadd_ps(a, b, sum); }
#ifdef __AVX512BF16__
// Adds products of two neighbouring floats in BF16, in each lane, with such a pair.
inline FloatVector dot_brains(FloatVector sum, Bytes weights, int32_t pair) {
    return _mm512_dpbf16_ps(sum, (__m512bh) weights, (__m512bh) all_ints(pair));
}
#endif
inline FloatVector larger(FloatVector a, FloatVector b) { return _mm512_max_ps(a, b); }
inline FloatVector smaller(FloatVector a, FloatVector b) { return _mm512_min_ps(a, b); }
inline FloatVector floats_of(Ints ints) { return _mm512_cvtepi32_ps(ints); }
inline FloatVector bits_as_floats(Ints ints) { return _mm512_castsi512_ps(ints); }
inline FloatVector exponential(FloatVector lanes) { return ggml_v_expf(lanes); }
inline void store_rounded(int8_t * to, FloatVector lanes) {
    _mm_storeu_si128(reinterpret_cast<__m128i *>(to), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(lanes)));
}
inline float largest(FloatVector lanes) { return _mm512_reduce_max_ps(lanes); }
inline bool any_above(FloatVector lanes, float limit) { return _mm512_cmp_ps_mask(lanes, broadcast(limit), _CMP_GT_OQ) != 0; }
inline uint64_t bits_unlike(const uint16_t * words, uint16_t word) {
    const __m512i like = _mm512_set1_epi16(static_cast<short>(word));
    const uint64_t low = _mm512_cmpneq_epi16_mask(_mm512_loadu_si512(words), like);
    const uint64_t high = _mm512_cmpneq_epi16_mask(_mm512_loadu_si512(words + 32), like);
    return low | high << 32;
}
inline FloatVector neighbours(FloatVector a, FloatVector b) {
    return add(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
}
inline FloatVector fold_four(FloatVector a, FloatVector b, FloatVector c, FloatVector d) {
    const __m512d first = _mm512_castps_pd(neighbours(a, b)), second = _mm512_castps_pd(neighbours(c, d));
    return add(_mm512_castpd_ps(_mm512_unpacklo_pd(first, second)), _mm512_castpd_ps(_mm512_unpackhi_pd(first, second)));
}
inline FloatVector join_folded(const FloatVector (&folded)[SIMD_WIDTH / 4]) {
    const auto halve = [](FloatVector a, FloatVector b) {
        return add(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
    };
    return halve(halve(folded[0], folded[1]), halve(folded[2], folded[3]));
}

#ifdef __AVX512VNNI__

constexpr int TOO_HIGH = 128;

inline Ints dot_pairs(Ints sum, Ints words, int32_t pair) { return _mm512_dpwssd_epi32(sum, words, _mm512_set1_epi32(pair)); }
inline Ints add_small_product(Ints sum, Ints a, Ints b) { return _mm512_dpwssd_epi32(sum, a, low_words(b)); }

// Rows take turns, because one sum after the other would wait for the product before.
template <int BITS, int COUNT, int N>
inline void add_dots(const Bytes * weights, const int8_t * values, int64_t stride, Ints (&sums)[N]) {
    for (int i = 0; i < COUNT; i++) {
        for (int r = 0; r < N; r++) {
            sums[r] = _mm512_dpbusd_epi32(sums[r], weights[i], all_ints(four_values(values + r * stride + 4 * i)));
        }
    }
}

#else

inline Ints dot_pairs(Ints sum, Ints words, int32_t pair) { return add_ints(sum, _mm512_madd_epi16(words, all_ints(pair))); }
inline Ints add_small_product(Ints sum, Ints a, Ints b) { return add_ints(sum, _mm512_madd_epi16(a, low_words(b))); }
inline Ints add_words(Ints a, Ints b) { return _mm512_add_epi16(a, b); }
inline Ints multiply_bytes(Bytes weights, Ints values) { return _mm512_maddubs_epi16(weights, values); }
inline Bytes flip_highest(Bytes a) { return _mm512_xor_si512(a, all_bytes(0x80)); }
inline Bytes magnitude(Bytes a) { return _mm512_abs_epi8(a); }
inline Ints with_sign_of(Bytes a, Ints values) {
    return _mm512_mask_sub_epi8(values, _mm512_movepi8_mask(a), _mm512_setzero_si512(), values);
}

#endif

}  // namespace few_rows

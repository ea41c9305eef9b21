// AVX2 with FMA and F16C (simd.h): 16 registers of 8 lanes, with AVX-VNNI or without.

#pragma once

#include <immintrin.h>

namespace few_rows {

constexpr int SIMD_WIDTH = 8, REGISTERS = 16;

using Bytes = __m256i;
using Ints = __m256i;
using FloatVector = __m256;

inline void prefetch(const void * from) { _mm_prefetch(static_cast<const char *>(from), _MM_HINT_T0); }
inline void prefetch_far(const void * from) { _mm_prefetch(static_cast<const char *>(from), _MM_HINT_T1); }

inline Bytes load_bytes(const void * from) { return _mm256_loadu_si256(static_cast<const __m256i *>(from)); }
inline void store_bytes(void * to, Bytes bytes) { _mm256_storeu_si256(static_cast<__m256i *>(to), bytes); }
inline Bytes all_bytes(int value) { return _mm256_set1_epi8(static_cast<char>(value)); }
inline Bytes and_bytes(Bytes a, Bytes b) { return _mm256_and_si256(a, b); }
inline Bytes or_bytes(Bytes a, Bytes b) { return _mm256_or_si256(a, b); }
inline Bytes shift_down(Bytes a, int bits) { return _mm256_srli_epi16(a, bits); }
inline Bytes shift_up(Bytes a, int bits) { return _mm256_slli_epi16(a, bits); }
inline Bytes table_of(const uint8_t * sixteen) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i *>(sixteen)));
}
inline Bytes look_up(Bytes table, Bytes at) { return _mm256_shuffle_epi8(table, at); }

inline Ints all_ints(int32_t value) { return _mm256_set1_epi32(value); }
inline Ints ints_of_signed(const void * bytes) {
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64(static_cast<const __m128i *>(bytes)));
}
inline Ints ints_of_unsigned(const void * bytes) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(static_cast<const __m128i *>(bytes)));
}
inline Ints ints_of_words(const uint16_t * words) {
    return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(words)));
}
inline Ints pairs_of_unsigned(const void * bytes) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128(static_cast<const __m128i *>(bytes)));
}
inline Ints add_ints(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
inline Ints multiply_ints(Ints a, Ints b) { return _mm256_mullo_epi32(a, b); }
inline Ints shift_ints_up(Ints ints, int bits) { return _mm256_slli_epi32(ints, bits); }
inline Ints dot_pairs(Ints sum, Ints words, int32_t pair) { return add_ints(sum, _mm256_madd_epi16(words, all_ints(pair))); }
inline Ints low_words(Ints ints) { return _mm256_and_si256(ints, all_ints(0xffff)); }
inline Ints add_small_product(Ints sum, Ints a, Ints b) { return add_ints(sum, _mm256_madd_epi16(a, low_words(b))); }

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
inline FloatVector subtract_product(FloatVector a, FloatVector b, FloatVector sum) { return _mm256_fnmadd_ps(a, b, sum); }
inline FloatVector larger(FloatVector a, FloatVector b) { return _mm256_max_ps(a, b); }
inline FloatVector smaller(FloatVector a, FloatVector b) { return _mm256_min_ps(a, b); }
inline FloatVector floats_of(Ints ints) { return _mm256_cvtepi32_ps(ints); }
inline FloatVector bits_as_floats(Ints ints) { return _mm256_castsi256_ps(ints); }
inline FloatVector exponential(FloatVector lanes) { return ggml_v_expf(lanes); }
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
inline FloatVector neighbours(FloatVector a, FloatVector b) {
    return add(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
}
inline FloatVector fold_four(FloatVector a, FloatVector b, FloatVector c, FloatVector d) {
    const __m256d first = _mm256_castps_pd(neighbours(a, b)), second = _mm256_castps_pd(neighbours(c, d));
    return add(_mm256_castpd_ps(_mm256_unpacklo_pd(first, second)), _mm256_castpd_ps(_mm256_unpackhi_pd(first, second)));
}
inline FloatVector join_folded(const FloatVector (&folded)[SIMD_WIDTH / 4]) {
    return add(_mm256_blend_ps(folded[0], folded[1], 0xf0), _mm256_permute2f128_ps(folded[0], folded[1], 0x21));
}

#ifdef __AVXVNNI__

constexpr int TOO_HIGH = 128;

template <int BITS, int COUNT, int N>
inline void add_dots(const Bytes * weights, const int8_t * values, int64_t stride, Ints (&sums)[N]) {
    for (int i = 0; i < COUNT; i++) {
        for (int r = 0; r < N; r++) {
            sums[r] = _mm256_dpbusd_avx_epi32(sums[r], weights[i], all_ints(four_values(values + r * stride + 4 * i)));
        }
    }
}

#else

inline Ints add_words(Ints a, Ints b) { return _mm256_add_epi16(a, b); }
inline Ints multiply_bytes(Bytes weights, Ints values) { return _mm256_maddubs_epi16(weights, values); }
inline Bytes flip_highest(Bytes a) { return _mm256_xor_si256(a, all_bytes(0x80)); }
inline Bytes magnitude(Bytes a) { return _mm256_abs_epi8(a); }
inline Ints with_sign_of(Bytes a, Ints values) { return _mm256_sign_epi8(values, a); }

#endif

}  // namespace few_rows

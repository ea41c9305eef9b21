// Vectors of bytes, whole numbers and floats for products with panels (panels.h): the one place of their intrinsics.
//
// A panel has 16 matrix rows. Where a vector has fewer lanes, it is worked through in parts of LANES matrix rows each.

#pragma once

#define GGML_COMMON_DECL_CPP
#define GGML_COMMON_IMPL_CPP
#include "ggml-common.h"

#include "ggml-cpu-impl.h"
#include "simd-mappings.h"

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace few_rows {

constexpr int PANEL_ROWS = 16;

// Into the first-level cache, and into the second one.
inline void prefetch_near(const void * from) { _mm_prefetch(static_cast<const char *>(from), _MM_HINT_T0); }
inline void prefetch_far(const void * from) { _mm_prefetch(static_cast<const char *>(from), _MM_HINT_T1); }

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)

constexpr int LANES = 16;
// Rows whose sums stay in registers beside the weights; more are done in groups.
constexpr int MOST_ROWS = 8;

using Bytes = __m512i;
using Ints = __m512i;
using Floats = __m512;

inline Bytes load_bytes(const void * from) { return _mm512_loadu_si512(from); }
inline void store_bytes(void * to, Bytes bytes) { _mm512_storeu_si512(to, bytes); }
inline Bytes all_bytes(int value) { return _mm512_set1_epi8(static_cast<char>(value)); }
inline Bytes and_bytes(Bytes a, Bytes b) { return _mm512_and_si512(a, b); }
inline Bytes or_bytes(Bytes a, Bytes b) { return _mm512_or_si512(a, b); }
// Within words of 16 bits: what comes from the neighbour has to be masked.
inline Bytes shift_down(Bytes a, int bits) { return _mm512_srli_epi16(a, static_cast<unsigned>(bits)); }
inline Bytes shift_up(Bytes a, int bits) { return _mm512_slli_epi16(a, static_cast<unsigned>(bits)); }
// Sixteen bytes, looked up by the low four bits of each byte.
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
// Two words to a lane, of two bytes each.
inline Ints pairs_of_unsigned(const void * bytes) {
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256(static_cast<const __m256i *>(bytes)));
}
inline Ints add_ints(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
inline Ints multiply_ints(Ints a, Ints b) { return _mm512_mullo_epi32(a, b); }
inline Ints dot_pairs(Ints sum, Ints words, int32_t pair) { return _mm512_dpwssd_epi32(sum, words, _mm512_set1_epi32(pair)); }

inline Floats no_floats() { return _mm512_setzero_ps(); }
inline Floats all_floats(float value) { return _mm512_set1_ps(value); }
inline Floats floats_of(Ints ints) { return _mm512_cvtepi32_ps(ints); }
inline Floats floats_of(const ggml_half * halves) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(halves)));
}
inline Floats bits_as_floats(Ints ints) { return _mm512_castsi512_ps(ints); }
inline Floats multiply_floats(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
inline Floats add_product(Floats a, Floats b, Floats sum) { return _mm512_fmadd_ps(a, b, sum); }
inline Floats subtract_product(Floats a, Floats b, Floats sum) { return _mm512_fnmadd_ps(a, b, sum); }
inline void store_floats(float * to, Floats lanes, int64_t count) {
    if (count >= LANES) {
        _mm512_storeu_ps(to, lanes);
    } else {
        _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1), lanes);
    }
}
inline Ints shift_ints_up(Ints ints, int bits) { return _mm512_slli_epi32(ints, static_cast<unsigned>(bits)); }

inline int32_t four_values(const int8_t * values) {
    int32_t word;
    std::memcpy(&word, values, sizeof word);
    return word;
}

// What weights of eight bits, stored with their highest bit flipped, are too high by in add_dots<8>.
constexpr int TOO_HIGH = 128;

// Adds COUNT products of four unsigned weights below 2^BITS, in each lane, with four signed values of each of N rows, which are
// `stride` apart. Rows take turns, because one sum after the other would wait for the product before.
template <int BITS, int COUNT, int N>
inline void add_dots(const Bytes * weights, const int8_t * values, int64_t stride, Ints (&sums)[N]) {
    for (int i = 0; i < COUNT; i++) {
        for (int r = 0; r < N; r++) {
            sums[r] = _mm512_dpbusd_epi32(sums[r], weights[i], _mm512_set1_epi32(four_values(values + r * stride + 4 * i)));
        }
    }
}

#else

constexpr int LANES = 8;
// Sixteen registers hold the sums of two rows beside the weights; weights come back from the nearest cache for more.
constexpr int MOST_ROWS = 4;

using Bytes = __m256i;
using Ints = __m256i;
using Floats = __m256;

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
inline Ints pairs_of_unsigned(const void * bytes) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128(static_cast<const __m128i *>(bytes)));
}
inline Ints add_ints(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
inline Ints multiply_ints(Ints a, Ints b) { return _mm256_mullo_epi32(a, b); }
inline Ints dot_pairs(Ints sum, Ints words, int32_t pair) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(words, _mm256_set1_epi32(pair)));
}

inline Floats no_floats() { return _mm256_setzero_ps(); }
inline Floats all_floats(float value) { return _mm256_set1_ps(value); }
inline Floats floats_of(Ints ints) { return _mm256_cvtepi32_ps(ints); }
inline Floats floats_of(const ggml_half * halves) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(halves)));
}
inline Floats bits_as_floats(Ints ints) { return _mm256_castsi256_ps(ints); }
inline Floats multiply_floats(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
inline Floats add_product(Floats a, Floats b, Floats sum) { return _mm256_fmadd_ps(a, b, sum); }
inline Floats subtract_product(Floats a, Floats b, Floats sum) { return _mm256_fnmadd_ps(a, b, sum); }
inline void store_floats(float * to, Floats lanes, int64_t count) {
    if (count >= LANES) {
        _mm256_storeu_ps(to, lanes);
        return;
    }
    alignas(32) float all[LANES];
    _mm256_store_ps(all, lanes);
    for (int64_t i = 0; i < count; i++) {
        to[i] = all[i];
    }
}
inline Ints shift_ints_up(Ints ints, int bits) { return _mm256_slli_epi32(ints, bits); }

inline int32_t four_values(const int8_t * values) {
    int32_t word;
    std::memcpy(&word, values, sizeof word);
    return word;
}

#    if defined(__AVXVNNI__)

constexpr int TOO_HIGH = 128;

template <int BITS, int COUNT, int N>
inline void add_dots(const Bytes * weights, const int8_t * values, int64_t stride, Ints (&sums)[N]) {
    for (int i = 0; i < COUNT; i++) {
        for (int r = 0; r < N; r++) {
            sums[r] = _mm256_dpbusd_avx_epi32(sums[r], weights[i], _mm256_set1_epi32(four_values(values + r * stride + 4 * i)));
        }
    }
}

#    else

constexpr int TOO_HIGH = 0;

// Products of bytes are added by twos in 16 bits, as many as stay below 2^15. Of eight bits not even two do: those weights are
// made signed, and the values take over their signs.
template <int BITS, int COUNT, int N>
inline void add_dots(const Bytes * weights, const int8_t * values, int64_t stride, Ints (&sums)[N]) {
    constexpr int FIT = BITS <= 4 ? 8 : BITS == 5 ? 4 : BITS == 6 ? 2 : 1, AT_ONCE = FIT < COUNT ? FIT : COUNT;
    const __m256i ones = _mm256_set1_epi16(1);
    for (int r = 0; r < N; r++) {
        for (int from = 0; from < COUNT; from += AT_ONCE) {
            __m256i pairs = _mm256_setzero_si256();
            for (int i = from; i < from + AT_ONCE; i++) {
                __m256i weight = weights[i], value = _mm256_set1_epi32(four_values(values + r * stride + 4 * i));
                if constexpr (BITS == 8) {
                    const __m256i is_signed = _mm256_xor_si256(weight, _mm256_set1_epi8(static_cast<char>(0x80)));
                    value = _mm256_sign_epi8(value, is_signed);
                    weight = _mm256_abs_epi8(is_signed);
                }
                pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(weight, value));
            }
            sums[r] = _mm256_add_epi32(sums[r], _mm256_madd_epi16(pairs, ones));
        }
    }
}

#    endif

#endif

}  // namespace few_rows

// 512-bit kernels with VNNI's dot products. N rows share every unpacked block of weights.

#pragma once

#include "few_rows.h"

#include <immintrin.h>

namespace few_rows {

// Of sums that stay in registers or the nearest cache; more rows are done in groups.
constexpr int MOST_AT_ONCE = 8;

// Sums of four products each, of weights below 16 with signed values.
inline __m256i dot_by_four(__m256i weights, __m256i values) {
    return _mm256_dpbusd_epi32(_mm256_setzero_si256(), weights, values);
}

// Scales and minima of 8 sub-blocks by 8 matrix rows, a byte each.
struct Q4Scales {
    alignas(64) uint8_t scales[64];
    alignas(64) uint8_t minima[64];
};

// block_q4_Kx8 packs them as Q4_K does, 12 bytes a sub-block, with matrix rows in the place of sub-blocks.
inline Q4Scales unpack_scales(const block_q4_Kx8 & block) {
    const __m512i first = _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 21, 18, 15, 12, 9, 6, 3, 0);
    const __m512i one = _mm512_set1_epi32(1);
    const __m512i second = _mm512_add_epi32(first, one);
    const __m512i third = _mm512_add_epi32(second, one);
    const __m256i six_bits = _mm256_set1_epi8(0x3f), low_four = _mm256_set1_epi8(0x0f), high_two = _mm256_set1_epi8(0x30);
    const __m512i head = _mm512_loadu_si512(block.scales);
    const __m512i tail = _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(block.scales + 64)));
    const __m256i w0 = _mm512_castsi512_si256(_mm512_permutex2var_epi32(head, first, tail));
    const __m256i w1 = _mm512_castsi512_si256(_mm512_permutex2var_epi32(head, second, tail));
    const __m256i w2 = _mm512_castsi512_si256(_mm512_permutex2var_epi32(head, third, tail));
    const __m256i scales_03 = _mm256_and_si256(w0, six_bits);
    const __m256i scales_47 = _mm256_or_si256(_mm256_and_si256(w2, low_four), _mm256_and_si256(_mm256_srli_epi32(w0, 2), high_two));
    const __m256i minima_03 = _mm256_and_si256(w1, six_bits);
    const __m256i minima_47 = _mm256_or_si256(
        _mm256_and_si256(_mm256_srli_epi32(w2, 4), low_four), _mm256_and_si256(_mm256_srli_epi32(w1, 2), high_two));
    Q4Scales out;
    const auto store = [](uint8_t * to, __m256i low, __m256i high) {
        const __m256i a = _mm256_unpacklo_epi32(low, high), b = _mm256_unpackhi_epi32(low, high);
        _mm256_store_si256(reinterpret_cast<__m256i *>(to), _mm256_permute2x128_si256(a, b, 0x20));
        _mm256_store_si256(reinterpret_cast<__m256i *>(to + 32), _mm256_permute2x128_si256(a, b, 0x31));
    };
    store(out.scales, scales_03, scales_47);
    store(out.minima, minima_03, minima_47);
    return out;
}

inline __m128i load_8(const uint8_t * bytes) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i *>(bytes));
}

// The scales of one sub-block, each for the two lanes of its matrix row.
inline __m512i scales_of(const uint8_t * eight) {
    const __m128i twice = _mm_set_epi8(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    return _mm512_cvtepu8_epi32(_mm_shuffle_epi8(load_8(eight), twice));
}

inline __m256 add_lanes_by_two(__m512 lanes) {
    const __m512i even = _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    return _mm256_add_ps(
        _mm512_castps512_ps256(_mm512_permutexvar_ps(even, lanes)),
        _mm512_castps512_ps256(_mm512_permutexvar_ps(odd, lanes)));
}

inline int64_t eight_values(const int8_t * values) {
    int64_t word;
    std::memcpy(&word, values, sizeof word);
    return word;
}

// Sum over 32 values of eight matrix rows: lanes 2r and 2r + 1 hold the halves of row r.
inline __m512i dot_32(const __m512i (&weights)[4], const int8_t * values, __m512i sum = _mm512_setzero_si512()) {
    for (int part = 0; part < 4; part++) {
        sum = _mm512_dpbusd_epi32(sum, weights[part], _mm512_set1_epi64(eight_values(values + 8 * part)));
    }
    return sum;
}

// out[r * stride + 0..7]: eight matrix rows times row `first + r`, r < N.
template <int N>
void q4_k(const block_q4_Kx8 * weights, const Rows & rows, int64_t first, float * out, int64_t stride) {
    const __m512i low_four = _mm512_set1_epi8(0x0f);
    const __m512i twice = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    __m512 sums[N];
    __m256 minima[N];
    for (int r = 0; r < N; r++) {
        sums[r] = _mm512_setzero_ps();
        minima[r] = _mm256_setzero_ps();
    }
    for (int64_t b = 0; b < rows.blocks; b++) {
        const block_q4_Kx8 & block = weights[b];
        prefetch_after<N>(block);
        const Q4Scales q = unpack_scales(block);
        __m512i dots[N];
        for (int r = 0; r < N; r++) {
            dots[r] = _mm512_setzero_si512();
        }
        for (int pair = 0; pair < 4; pair++) {
            __m512i low[4], high[4];
            for (int part = 0; part < 4; part++) {
                const __m512i bytes = _mm512_loadu_si512(block.qs + 256 * pair + 64 * part);
                low[part] = _mm512_and_si512(bytes, low_four);
                high[part] = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), low_four);
            }
            const __m512i low_scales = scales_of(q.scales + 16 * pair), high_scales = scales_of(q.scales + 16 * pair + 8);
            for (int r = 0; r < N; r++) {
                const int8_t * values = rows.at(first + r, b).qs + 64 * pair;
                const __m512i a = _mm512_mullo_epi32(dot_32(low, values), low_scales);
                const __m512i c = _mm512_mullo_epi32(dot_32(high, values + 32), high_scales);
                dots[r] = _mm512_add_epi32(dots[r], _mm512_add_epi32(a, c));
            }
        }
        const __m256 d8 = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(block.d)));
        const __m512 d = _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(d8));
        const __m256 dmin = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(block.dmin)));
        __m256i minima_of_pair[4];
        for (int pair = 0; pair < 4; pair++) {
            const uint8_t * at = q.minima + 16 * pair;
            minima_of_pair[pair] = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(load_8(at), load_8(at + 8)));
        }
        for (int r = 0; r < N; r++) {
            const block_q8_K & row = rows.at(first + r, b);
            __m256i below = _mm256_setzero_si256();
            for (int pair = 0; pair < 4; pair++) {
                below = _mm256_dpwssd_epi32(below, minima_of_pair[pair], _mm256_set1_epi32(sums_of_pair(row, pair)));
            }
            sums[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[r]), _mm512_mul_ps(d, _mm512_set1_ps(row.d)), sums[r]);
            minima[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(below), _mm256_mul_ps(dmin, _mm256_set1_ps(row.d)), minima[r]);
        }
    }
    for (int r = 0; r < N; r++) {
        _mm256_storeu_ps(out + r * stride, _mm256_sub_ps(add_lanes_by_two(sums[r]), minima[r]));
    }
}

// out[r * stride + 0..7]: eight matrix rows times row `first + r`, r < N. Nibbles are stored with their highest bit flipped.
template <int N>
void q4_0(const block_q4_0x8 * weights, const SmallRows & rows, int64_t first, float * out, int64_t stride) {
    const __m512i low_four = _mm512_set1_epi8(0x0f), flipped = _mm512_set1_epi8(static_cast<char>(0x88));
    const __m512i twice = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    __m512 sums[N];
    for (int r = 0; r < N; r++) {
        sums[r] = _mm512_setzero_ps();
    }
    for (int64_t b = 0; b < rows.blocks; b++) {
        const block_q4_0x8 & block = weights[b];
        prefetch_after<N>(block);
        const __m512i first_bytes = _mm512_xor_si512(_mm512_loadu_si512(block.qs), flipped);
        const __m512i last_bytes = _mm512_xor_si512(_mm512_loadu_si512(block.qs + 64), flipped);
        const __m512i unpacked[4] = {
            _mm512_and_si512(first_bytes, low_four), _mm512_and_si512(last_bytes, low_four),
            _mm512_and_si512(_mm512_srli_epi16(first_bytes, 4), low_four),
            _mm512_and_si512(_mm512_srli_epi16(last_bytes, 4), low_four)};
        const __m256 d8 = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(block.d)));
        const __m512 d = _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(d8));
        for (int r = 0; r < N; r++) {
            const int8_t * values = rows.values(first + r, b);
            const Scale & scale = rows.scale(first + r, b);
            // Weights are 8 too high; each of the two lanes of a matrix row takes half of what that adds.
            const __m512i dot = dot_32(unpacked, values, _mm512_set1_epi32(-4 * scale.sum));
            sums[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_mul_ps(d, _mm512_set1_ps(scale.d)), sums[r]);
        }
    }
    for (int r = 0; r < N; r++) {
        _mm256_storeu_ps(out + r * stride, add_lanes_by_two(sums[r]));
    }
}

// 256 unsigned 6-bit weights, in order, a byte each. They are 32 too high.
inline void unpack_q6_k(const block_q6_K & block, __m512i (&weights)[4]) {
    const __m512i low_four = _mm512_set1_epi8(0x0f), high_two = _mm512_set1_epi8(0x30);
    const __m512i up = _mm512_inserti64x4(_mm512_set1_epi16(4), _mm256_set1_epi16(2), 1);
    const __m512i down = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(2), 1);
    for (int half = 0; half < 2; half++) {
        const __m512i low = _mm512_loadu_si512(block.ql + 64 * half);
        const __m512i high =
            _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(block.qh + 32 * half)));
        weights[2 * half] = _mm512_or_si512(
            _mm512_and_si512(low, low_four), _mm512_and_si512(_mm512_sllv_epi16(high, up), high_two));
        weights[2 * half + 1] = _mm512_or_si512(
            _mm512_and_si512(_mm512_srli_epi16(low, 4), low_four), _mm512_and_si512(_mm512_srlv_epi16(high, down), high_two));
    }
}

// out[r * stride]: one matrix row times row `first + r`, r < N.
template <int N>
void q6_k(const block_q6_K * weights, const Rows & rows, int64_t first, float * out, int64_t stride) {
    // Eight words for each of the four scales of a part, counted up from part to part.
    const __m512i of_first = _mm512_inserti64x4(
        _mm512_castsi256_si512(_mm256_set_m128i(_mm_set1_epi16(1), _mm_setzero_si128())),
        _mm256_set_m128i(_mm_set1_epi16(3), _mm_set1_epi16(2)), 1);
    __m512 sums[N];
    for (int r = 0; r < N; r++) {
        sums[r] = _mm512_setzero_ps();
    }
    for (int64_t b = 0; b < rows.blocks; b++) {
        const block_q6_K & block = weights[b];
        prefetch_after<N>(block);
        __m512i unpacked[4], scales[4];
        unpack_q6_k(block, unpacked);
        const __m256i words = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i *>(block.scales)));
        for (int part = 0; part < 4; part++) {
            const __m512i of_part = _mm512_add_epi16(of_first, _mm512_set1_epi16(static_cast<short>(4 * part)));
            scales[part] = _mm512_permutexvar_epi16(of_part, _mm512_castsi256_si512(words));
        }
        const __m512i offsets = _mm512_zextsi256_si512(_mm256_mullo_epi16(words, _mm256_set1_epi16(-32)));
        const float d = GGML_CPU_FP16_TO_FP32(block.d);
        for (int r = 0; r < N; r++) {
            const block_q8_K & row = rows.at(first + r, b);
            const __m256i row_sums = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(row.bsums));
            __m512i dot = _mm512_dpwssd_epi32(_mm512_setzero_si512(), offsets, _mm512_zextsi256_si512(row_sums));
            for (int part = 0; part < 4; part++) {
                // Two products of 63 * 127 fit 16 bits.
                const __m512i pairs = _mm512_maddubs_epi16(unpacked[part], _mm512_loadu_si512(row.qs + 64 * part));
                dot = _mm512_dpwssd_epi32(dot, pairs, scales[part]);
            }
            sums[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_set1_ps(d * row.d), sums[r]);
        }
    }
    for (int r = 0; r < N; r++) {
        out[r * stride] = _mm512_reduce_add_ps(sums[r]);
    }
}

}  // namespace few_rows

// 256-bit kernels for processors without VNNI. N rows share every unpacked block of weights.

#pragma once

#include "narrow_rows.h"

#include <immintrin.h>

namespace narrow {

// Sixteen registers hold the sums of four rows beside the weights; more rows are done in groups.
constexpr int MOST_AT_ONCE = 4;

inline __m256i load_32(const void * bytes) {
    return _mm256_loadu_si256(static_cast<const __m256i *>(bytes));
}

// Sums of four products each, of weights below 16 with signed values.
inline __m256i dot_by_four(__m256i weights, __m256i values) {
    return _mm256_madd_epi16(_mm256_maddubs_epi16(weights, values), _mm256_set1_epi16(1));
}

// Scales and minima of 8 sub-blocks by 8 matrix rows, a byte each.
struct Q4Scales {
    uint32_t scales[16];
    uint32_t minima[16];
};

// block_q4_Kx8 packs them as Q4_K does, 12 bytes a sub-block, with matrix rows in the place of sub-blocks.
inline Q4Scales unpack_scales(const block_q4_Kx8 & block) {
    Q4Scales out;
    for (int sub = 0; sub < 8; sub++) {
        uint32_t words[3];
        std::memcpy(words, block.scales + 12 * sub, sizeof words);
        out.scales[2 * sub] = words[0] & 0x3f3f3f3f;
        out.scales[2 * sub + 1] = (words[2] & 0x0f0f0f0f) | ((words[0] >> 2) & 0x30303030);
        out.minima[2 * sub] = words[1] & 0x3f3f3f3f;
        out.minima[2 * sub + 1] = ((words[2] >> 4) & 0x0f0f0f0f) | ((words[1] >> 2) & 0x30303030);
    }
    return out;
}

// The scales of four matrix rows in one sub-block, each for the four words of its row.
inline __m256i scales_of(uint32_t four) {
    const __m128i times_four = _mm_set_epi8(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    return _mm256_cvtepu8_epi16(_mm_shuffle_epi8(_mm_cvtsi32_si128(static_cast<int>(four)), times_four));
}

// Sum over 32 values of four matrix rows, scaled: two lanes a row. Eight products of 15 * 127 fit 16 bits.
inline __m256i scaled_dot_32(const __m256i (&weights)[4], const int8_t * values, __m256i scales) {
    __m256i pairs = _mm256_setzero_si256();
    for (int part = 0; part < 4; part++) {
        const __m256i eight = _mm256_set1_epi64x(eight_values(values + 8 * part));
        pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(weights[part], eight));
    }
    return _mm256_madd_epi16(pairs, scales);
}

inline __m256 add_lanes_by_two(__m256 low, __m256 high) {
    const __m256 mixed = _mm256_hadd_ps(low, high);
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(mixed), 0xd8));
}

// Adds four matrix rows (0 to 3, or 4 to 7 with half = 1) of one block to the integer sums.
template <int N>
inline void add_q4_k_half(const block_q4_Kx8 & block, const Q4Scales & q, int half, const Rows & rows, int64_t first,
                          int64_t b, __m256i (&dots)[N]) {
    const __m256i low_four = _mm256_set1_epi8(0x0f);
    for (int sub = 0; sub < 8; sub++) {
        __m256i weights[4];
        for (int part = 0; part < 4; part++) {
            const __m256i bytes = load_32(block.qs + 256 * (sub / 2) + 64 * part + 32 * half);
            weights[part] = _mm256_and_si256(sub % 2 ? _mm256_srli_epi16(bytes, 4) : bytes, low_four);
        }
        const __m256i scales = scales_of(q.scales[2 * sub + half]);
        for (int r = 0; r < N; r++) {
            const int8_t * values = rows.at(first + r, b).qs + 32 * sub;
            dots[r] = _mm256_add_epi32(dots[r], scaled_dot_32(weights, values, scales));
        }
    }
}

// out[r * stride + 0..7]: eight matrix rows times row `first + r`, r < N.
template <int N>
void q4_k(const block_q4_Kx8 * weights, const Rows & rows, int64_t first, float * out, int64_t stride) {
    const __m256i twice[2] = {_mm256_set_epi32(3, 3, 2, 2, 1, 1, 0, 0), _mm256_set_epi32(7, 7, 6, 6, 5, 5, 4, 4)};
    __m256 sums[2][N], minima[N];
    for (int r = 0; r < N; r++) {
        sums[0][r] = sums[1][r] = minima[r] = _mm256_setzero_ps();
    }
    for (int64_t b = 0; b < rows.blocks; b++) {
        const block_q4_Kx8 & block = weights[b];
        prefetch_after<N>(block);
        const Q4Scales q = unpack_scales(block);
        const __m256 d8 = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(block.d)));
        for (int half = 0; half < 2; half++) {
            __m256i dots[N];
            for (int r = 0; r < N; r++) {
                dots[r] = _mm256_setzero_si256();
            }
            add_q4_k_half<N>(block, q, half, rows, first, b, dots);
            const __m256 d = _mm256_permutevar8x32_ps(d8, twice[half]);
            for (int r = 0; r < N; r++) {
                const __m256 scale = _mm256_mul_ps(d, _mm256_set1_ps(rows.at(first + r, b).d));
                sums[half][r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[r]), scale, sums[half][r]);
            }
        }
        const __m256 dmin = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(block.dmin)));
        for (int r = 0; r < N; r++) {
            const block_q8_K & row = rows.at(first + r, b);
            __m256i below = _mm256_setzero_si256();
            for (int pair = 0; pair < 4; pair++) {
                const auto * at = reinterpret_cast<const __m128i *>(q.minima + 4 * pair);
                const __m128i both = _mm_loadu_si128(at);
                const __m256i words = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(both, _mm_srli_si128(both, 8)));
                below = _mm256_add_epi32(below, _mm256_madd_epi16(words, _mm256_set1_epi32(sums_of_pair(row, pair))));
            }
            const __m256 scale = _mm256_mul_ps(dmin, _mm256_set1_ps(row.d));
            minima[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(below), scale, minima[r]);
        }
    }
    for (int r = 0; r < N; r++) {
        const __m256 total = add_lanes_by_two(sums[0][r], sums[1][r]);
        _mm256_storeu_ps(out + r * stride, _mm256_sub_ps(total, minima[r]));
    }
}

// out[r * stride + 0..7]: eight matrix rows times row `first + r`, r < N. Nibbles are stored with their highest bit flipped.
template <int N>
void q4_0(const block_q4_0x8 * weights, const SmallRows & rows, int64_t first, float * out, int64_t stride) {
    const __m256i low_four = _mm256_set1_epi8(0x0f), flipped = _mm256_set1_epi8(static_cast<char>(0x88));
    const __m256i twice[2] = {_mm256_set_epi32(3, 3, 2, 2, 1, 1, 0, 0), _mm256_set_epi32(7, 7, 6, 6, 5, 5, 4, 4)};
    const __m256i ones = _mm256_set1_epi16(1);
    __m256 sums[2][N];
    for (int r = 0; r < N; r++) {
        sums[0][r] = sums[1][r] = _mm256_setzero_ps();
    }
    for (int64_t b = 0; b < rows.blocks; b++) {
        const block_q4_0x8 & block = weights[b];
        prefetch_after<N>(block);
        const __m256 d8 = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(block.d)));
        for (int half = 0; half < 2; half++) {
            const __m256i first_bytes = _mm256_xor_si256(load_32(block.qs + 32 * half), flipped);
            const __m256i last_bytes = _mm256_xor_si256(load_32(block.qs + 64 + 32 * half), flipped);
            const __m256i unpacked[4] = {
                _mm256_and_si256(first_bytes, low_four), _mm256_and_si256(last_bytes, low_four),
                _mm256_and_si256(_mm256_srli_epi16(first_bytes, 4), low_four),
                _mm256_and_si256(_mm256_srli_epi16(last_bytes, 4), low_four)};
            const __m256 d = _mm256_permutevar8x32_ps(d8, twice[half]);
            for (int r = 0; r < N; r++) {
                const Scale & scale = rows.scale(first + r, b);
                // Weights are 8 too high; each of the two lanes of a matrix row takes half of what that adds.
                const __m256i dot = _mm256_add_epi32(
                    _mm256_set1_epi32(-4 * scale.sum), scaled_dot_32(unpacked, rows.values(first + r, b), ones));
                const __m256 factor = _mm256_mul_ps(d, _mm256_set1_ps(scale.d));
                sums[half][r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), factor, sums[half][r]);
            }
        }
    }
    for (int r = 0; r < N; r++) {
        _mm256_storeu_ps(out + r * stride, add_lanes_by_two(sums[0][r], sums[1][r]));
    }
}

// 32 unsigned 6-bit weights, a byte each, 32 too high: number `part` of the eight parts of a block.
inline __m256i unpack_q6_k(const block_q6_K & block, int part) {
    const __m256i low_four = _mm256_set1_epi8(0x0f), high_two = _mm256_set1_epi8(0x30);
    const int half = part / 4, quarter = part % 4;
    const __m256i low = load_32(block.ql + 64 * half + 32 * (quarter % 2));
    const __m256i high = load_32(block.qh + 32 * half);
    const __m256i nibbles = _mm256_and_si256(quarter < 2 ? low : _mm256_srli_epi16(low, 4), low_four);
    const __m256i moved = quarter == 0   ? _mm256_slli_epi16(high, 4)
                          : quarter == 1 ? _mm256_slli_epi16(high, 2)
                          : quarter == 2 ? high
                                         : _mm256_srli_epi16(high, 2);
    return _mm256_or_si256(nibbles, _mm256_and_si256(moved, high_two));
}

// out[r * stride]: one matrix row times row `first + r`, r < N.
template <int N>
void q6_k(const block_q6_K * weights, const Rows & rows, int64_t first, float * out, int64_t stride) {
    const __m128i two_scales = _mm_set_epi8(1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
    __m256 sums[N];
    for (int r = 0; r < N; r++) {
        sums[r] = _mm256_setzero_ps();
    }
    for (int64_t b = 0; b < rows.blocks; b++) {
        const block_q6_K & block = weights[b];
        prefetch_after<N>(block);
        const __m128i scales = _mm_loadu_si128(reinterpret_cast<const __m128i *>(block.scales));
        const __m256i offsets = _mm256_mullo_epi16(_mm256_cvtepi8_epi16(scales), _mm256_set1_epi16(-32));
        __m256i dots[N];
        for (int r = 0; r < N; r++) {
            dots[r] = _mm256_madd_epi16(offsets, load_32(rows.at(first + r, b).bsums));
        }
        for (int part = 0; part < 8; part++) {
            const __m256i unpacked = unpack_q6_k(block, part);
            const __m128i which = _mm_add_epi8(two_scales, _mm_set1_epi8(static_cast<char>(2 * part)));
            const __m256i words = _mm256_cvtepi8_epi16(_mm_shuffle_epi8(scales, which));
            for (int r = 0; r < N; r++) {
                // Two products of 63 * 127 fit 16 bits.
                const __m256i pairs = _mm256_maddubs_epi16(unpacked, load_32(rows.at(first + r, b).qs + 32 * part));
                dots[r] = _mm256_add_epi32(dots[r], _mm256_madd_epi16(pairs, words));
            }
        }
        const float d = GGML_CPU_FP16_TO_FP32(block.d);
        for (int r = 0; r < N; r++) {
            const __m256 scale = _mm256_set1_ps(d * rows.at(first + r, b).d);
            sums[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[r]), scale, sums[r]);
        }
    }
    for (int r = 0; r < N; r++) {
        out[r * stride] = add_lanes(sums[r]);
    }
}

}  // namespace narrow

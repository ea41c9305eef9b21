// 256-bit kernels for processors without VNNI. N rows share every unpacked block of weights.

#pragma once

#include "few_rows.h"

#include <immintrin.h>

namespace few_rows {

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

// The same eight values four times, straight from memory.
inline __m256i four_times(const int8_t * eight) {
    return _mm256_broadcastq_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(eight)));
}

inline __m256i eight_times(const int32_t * value) {
    return _mm256_broadcastd_epi32(_mm_loadu_si32(value));
}

// A sum that may not be put off: compilers would first make all products, for which there are not enough registers (gcc 12:
// four rows 1.3 to 1.4 times slower).
inline void keep(__m256i & sum) {
#if defined(__GNUC__)
    __asm__("" : "+x"(sum));
#else
    (void) sum;
#endif
}

// Sums of pairs of products over 32 values, of N rows by eight matrix rows: 0 to 3 in `low`, 4 to 7 in `high`, four words
// each. Eight products of 15 * 127 fit 16 bits.
template <int N>
struct Pairs {
    __m256i low[N], high[N];

    // Eight weights of each matrix row, times the values at `at` of every row.
    template <bool first>
    void add(__m256i low_weights, __m256i high_weights, const int8_t * at, int64_t row_bytes) {
        for (int r = 0; r < N; r++) {
            const __m256i values = four_times(at + r * row_bytes);
            const __m256i one = _mm256_maddubs_epi16(low_weights, values);
            const __m256i other = _mm256_maddubs_epi16(high_weights, values);
            low[r] = first ? one : _mm256_add_epi16(low[r], one);
            high[r] = first ? other : _mm256_add_epi16(high[r], other);
            keep(low[r]);
            keep(high[r]);
        }
    }
};

// Adding neighbours of two vectors leaves matrix rows 0, 1, 4, 5 in one half and 2, 3, 6, 7 in the other: from and to that order.
inline __m256 mixed(__m256 lanes) {
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(lanes), 0xd8));
}

inline __m256 eight_halves(const ggml_half * values) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(values)));
}

// Adds what one sub-block brings to the integer sums, of matrix rows 0 to 3 and of 4 to 7. Its weights are the nibbles from
// bit `shift` on.
template <int N, int shift>
inline void add_q4_k_sub(const block_q4_Kx8 & block, const Q4Scales & q, int sub, const int8_t * values, int64_t row_bytes,
                         __m256i (&low)[N], __m256i (&high)[N]) {
    const auto weights = [&](int part, int half) {
        const __m256i bytes = load_32(block.qs + 256 * (sub / 2) + 64 * part + 32 * half);
        return _mm256_and_si256(shift ? _mm256_srli_epi16(bytes, shift) : bytes, _mm256_set1_epi8(0x0f));
    };
    const int8_t * at = values + 32 * sub;
    Pairs<N> pairs;
    pairs.template add<true>(weights(0, 0), weights(0, 1), at, row_bytes);
    pairs.template add<false>(weights(1, 0), weights(1, 1), at + 8, row_bytes);
    pairs.template add<false>(weights(2, 0), weights(2, 1), at + 16, row_bytes);
    pairs.template add<false>(weights(3, 0), weights(3, 1), at + 24, row_bytes);
    const __m256i low_scales = scales_of(q.scales[2 * sub]), high_scales = scales_of(q.scales[2 * sub + 1]);
    for (int r = 0; r < N; r++) {
        low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(pairs.low[r], low_scales));
        high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(pairs.high[r], high_scales));
    }
}

// out[r * stride + 0..7]: eight matrix rows times row `first + r`, r < N.
template <int N>
void q4_k(const block_q4_Kx8 * weights, const Rows & rows, int64_t first, float * out, int64_t stride) {
    __m256 sums[N], minima[N];
    for (int r = 0; r < N; r++) {
        sums[r] = minima[r] = _mm256_setzero_ps();
    }
    const int64_t row_bytes = rows.blocks * static_cast<int64_t>(sizeof(block_q8_K));
    for (int64_t b = 0; b < rows.blocks; b++) {
        const block_q4_Kx8 & block = weights[b];
        prefetch_after<N>(block);
        const Q4Scales q = unpack_scales(block);
        __m256i low[N], high[N];
        for (int r = 0; r < N; r++) {
            low[r] = high[r] = _mm256_setzero_si256();
        }
        for (int sub = 0; sub < 8; sub += 2) {
            add_q4_k_sub<N, 0>(block, q, sub, rows.at(first, b).qs, row_bytes, low, high);
            add_q4_k_sub<N, 4>(block, q, sub + 1, rows.at(first, b).qs, row_bytes, low, high);
        }
        const __m256 d = mixed(eight_halves(block.d)), dmin = eight_halves(block.dmin);
        for (int r = 0; r < N; r++) {
            const block_q8_K & row = rows.at(first + r, b);
            const __m256 row_d = _mm256_broadcast_ss(&row.d);
            const __m256 dots = _mm256_cvtepi32_ps(_mm256_hadd_epi32(low[r], high[r]));
            sums[r] = _mm256_fmadd_ps(dots, _mm256_mul_ps(d, row_d), sums[r]);
            __m256i below = _mm256_setzero_si256();
            for (int pair = 0; pair < 4; pair++) {
                const auto * at = reinterpret_cast<const __m128i *>(q.minima + 4 * pair);
                const __m128i both = _mm_loadu_si128(at);
                const __m256i words = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(both, _mm_srli_si128(both, 8)));
                below = _mm256_add_epi32(below, _mm256_madd_epi16(words, _mm256_set1_epi32(sums_of_pair(row, pair))));
            }
            minima[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(below), _mm256_mul_ps(dmin, row_d), minima[r]);
        }
    }
    for (int r = 0; r < N; r++) {
        _mm256_storeu_ps(out + r * stride, _mm256_sub_ps(mixed(sums[r]), minima[r]));
    }
}

// out[r * stride + 0..7]: eight matrix rows times row `first + r`, r < N. Nibbles are stored with their highest bit flipped.
template <int N>
void q4_0(const block_q4_0x8 * weights, const SmallRows & rows, int64_t first, float * out, int64_t stride) {
    const __m256i low_four = _mm256_set1_epi8(0x0f), flipped = _mm256_set1_epi8(static_cast<char>(0x88));
    const __m256i ones = _mm256_set1_epi16(1);
    __m256 sums[N];
    for (int r = 0; r < N; r++) {
        sums[r] = _mm256_setzero_ps();
    }
    const int64_t row_bytes = rows.blocks * static_cast<int64_t>(sizeof(block_q8_0));
    for (int64_t b = 0; b < rows.blocks; b++) {
        const block_q4_0x8 & block = weights[b];
        prefetch_after<N>(block);
        const int8_t * values = rows.values(first, b);
        const auto low_nibbles = [&](__m256i bytes) { return _mm256_and_si256(bytes, low_four); };
        const auto high_nibbles = [&](__m256i bytes) { return _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low_four); };
        Pairs<N> pairs;
        __m256i low = _mm256_xor_si256(load_32(block.qs), flipped), high = _mm256_xor_si256(load_32(block.qs + 32), flipped);
        pairs.template add<true>(low_nibbles(low), low_nibbles(high), values, row_bytes);
        pairs.template add<false>(high_nibbles(low), high_nibbles(high), values + 16, row_bytes);
        low = _mm256_xor_si256(load_32(block.qs + 64), flipped), high = _mm256_xor_si256(load_32(block.qs + 96), flipped);
        pairs.template add<false>(low_nibbles(low), low_nibbles(high), values + 8, row_bytes);
        pairs.template add<false>(high_nibbles(low), high_nibbles(high), values + 24, row_bytes);
        const __m256 d = mixed(eight_halves(block.d));
        for (int r = 0; r < N; r++) {
            const Scale & scale = rows.scale(first + r, b);
            const __m256i dot = _mm256_hadd_epi32(
                _mm256_madd_epi16(pairs.low[r], ones), _mm256_madd_epi16(pairs.high[r], ones));
            // Weights are 8 too high.
            const __m256i exact = _mm256_sub_epi32(dot, _mm256_slli_epi32(eight_times(&scale.sum), 3));
            const __m256 factor = _mm256_mul_ps(d, _mm256_broadcast_ss(&scale.d));
            sums[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(exact), factor, sums[r]);
        }
    }
    for (int r = 0; r < N; r++) {
        _mm256_storeu_ps(out + r * stride, mixed(sums[r]));
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
    const int64_t row_bytes = rows.blocks * static_cast<int64_t>(sizeof(block_q8_K));
    __m256 sums[N];
    for (int r = 0; r < N; r++) {
        sums[r] = _mm256_setzero_ps();
    }
    for (int64_t b = 0; b < rows.blocks; b++) {
        const block_q6_K & block = weights[b];
        prefetch_after<N>(block);
        const int8_t * values = rows.at(first, b).qs;
        const __m128i scales = _mm_loadu_si128(reinterpret_cast<const __m128i *>(block.scales));
        const __m256i offsets = _mm256_mullo_epi16(_mm256_cvtepi8_epi16(scales), _mm256_set1_epi16(-32));
        __m256i dots[N];
        for (int r = 0; r < N; r++) {
            dots[r] = _mm256_madd_epi16(offsets, load_32(rows.at(first + r, b).bsums));
        }
#pragma GCC unroll 8
        for (int part = 0; part < 8; part++) {
            const __m256i unpacked = unpack_q6_k(block, part);
            const __m128i which = _mm_add_epi8(two_scales, _mm_set1_epi8(static_cast<char>(2 * part)));
            const __m256i words = _mm256_cvtepi8_epi16(_mm_shuffle_epi8(scales, which));
            for (int r = 0; r < N; r++) {
                // Two products of 63 * 127 fit 16 bits.
                const __m256i pairs = _mm256_maddubs_epi16(unpacked, load_32(values + r * row_bytes + 32 * part));
                dots[r] = _mm256_add_epi32(dots[r], _mm256_madd_epi16(pairs, words));
                keep(dots[r]);
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

}  // namespace few_rows

// Products of a weight matrix in panels of 16 rows, with few or many activation rows.
//
// A vector holds four neighbouring weights of each matrix row, a row to a lane, so that one instruction multiplies them with
// four activations: no sum ever goes across lanes, scales are applied to 16 matrix rows at once, and all activation rows of a
// group share every unpacked vector. A row's sums are made in the same order whatever the size of its group.
//
// A type of weights is a struct (panel_types.h, panel_types_k.h) with
//   Source        ggml's block, Panel the same blocks of 16 matrix rows, in as many bytes
//   VALUES        weights of a block: 32, or 256 with whole-numbered scales of sub-blocks
//   BITS          of an unpacked weight, which is OFFSET too high; 16 of those that are floats (panel_types_float.h)
//   pack          makes a panel of 16 blocks
//   unpack        makes the vectors of 32 weights; in blocks of 256 those of sub-block first + number. TOGETHER sub-blocks from
//                 `first` on have bytes in common, so that one load and shifts by constants serve them all. (It pays where there
//                 are enough registers: with Q6_K and Q3_K, whose weights come from two places, four rows were slower so.)

#pragma once

#include "simd.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace few_rows {

// Where a vector has fewer lanes, a panel is worked through in parts of SIMD_WIDTH matrix rows each.
constexpr int PANEL_ROWS = 16;
// Activation rows whose sums stay in registers beside the weights (with 16 registers two rows' do, and weights come back from the
// nearest cache for more); more are done in groups.
constexpr int MOST_ROWS = REGISTERS / 4;
constexpr int QUANTIZED = 32;

// How far ahead of their use weights are asked for. Up to four rows leave the processor time to wait only for the nearest cache;
// more keep its arithmetic busy, and what they will need must come from further ahead, into the second-level cache, which has
// more places for reads on their way. (Zen 5, the 1.5B, one row: 59 tokens per second so, 47 from 16 KiB ahead, 26 without. A matrix in
// Q4_K with four rows: 1.03 of the time with one row so, 1.3 from 16 KiB ahead.)
constexpr size_t AHEAD_OF_FEW_BYTES = 4096, AHEAD_OF_MANY_BYTES = 16384;

template <int N, typename Panel>
void prefetch_after(const Panel & panel) {
    const auto * from = reinterpret_cast<const char *>(&panel);
    for (size_t at = 0; at < sizeof(Panel); at += 64) {
        if constexpr (N <= 4) {
            prefetch(from + AHEAD_OF_FEW_BYTES + at);
        } else {
            prefetch_far(from + AHEAD_OF_MANY_BYTES + at);
        }
    }
}

// One block of a group of N quantized rows, as the kernels read it: values, what belongs to sub-blocks, and scales, each for all
// rows of the group side by side.
template <typename Type, int N>
struct Activations {
    static constexpr int SUBS = Type::VALUES / QUANTIZED;
    int8_t values[SUBS][N][QUANTIZED];
    // Of each sub-block: -OFFSET times the sum of its values, or the sums themselves for minima.
    int32_t sums[Type::SUMS][N];
    float scales[N];
};

// The same of types whose weights are floats.
template <typename Type, int N>
struct FloatActivations {
    typename Type::Value values[Type::STEPS][N];
};

template <typename Type>
constexpr bool IS_FLOAT = Type::BITS == 16;

template <typename Type>
constexpr size_t activation_bytes() {
    if constexpr (IS_FLOAT<Type>) {
        return sizeof(FloatActivations<Type, 1>);
    } else {
        return sizeof(Activations<Type, 1>);
    }
}

// out[r * stride + 0..SIMD_WIDTH]: matrix rows of one part of a panel times the N rows of a group. Of floats; each row has two sums,
// because one product after the other would wait for the one before.
template <typename Type, int N>
void multiply_floats(
    const typename Type::Panel * panels, const FloatActivations<Type, N> * rows, int64_t blocks, int part, float * out,
    int64_t stride, int64_t count) {
    FloatVector sums[2][N];
    for (int r = 0; r < N; r++) {
        sums[0][r] = sums[1][r] = broadcast(0.0f);
    }
    for (int64_t b = 0; b < blocks; b++) {
        prefetch_after<N>(panels[b]);
        for (int step = 0; step < Type::STEPS; step += 2) {
            for (int odd = 0; odd < 2; odd++) {
                const auto weights = Type::unpack(panels[b], step + odd, part);
                for (int r = 0; r < N; r++) {
                    sums[odd][r] = Type::add(sums[odd][r], weights, rows[b].values[step + odd][r]);
                }
            }
        }
    }
    for (int r = 0; r < N; r++) {
        store_first(out + r * stride, add(sums[0][r], sums[1][r]), count);
    }
}

// The same with quantized blocks of 32.
template <typename Type, int N>
void multiply_32(
    const typename Type::Panel * panels, const Activations<Type, N> * rows, int64_t blocks, int part, float * out, int64_t stride,
    int64_t count) {
    FloatVector sums[N];
    for (int r = 0; r < N; r++) {
        sums[r] = broadcast(0.0f);
    }
    for (int64_t b = 0; b < blocks; b++) {
        const typename Type::Panel & panel = panels[b];
        const Activations<Type, N> & row = rows[b];
        prefetch_after<N>(panel);
        Bytes weights[8];
        Type::unpack(panel, part, weights);
        const FloatVector scale = Type::scale(panel, part);
        Ints dots[N];
        for (int r = 0; r < N; r++) {
            dots[r] = all_ints(Type::OFFSET ? row.sums[0][r] : 0);
        }
        add_dots<Type::BITS, 8>(weights, row.values[0][0], QUANTIZED, dots);
        for (int r = 0; r < N; r++) {
            sums[r] = multiply_add(floats_of(dots[r]), multiply(scale, broadcast(row.scales[r])), sums[r]);
        }
        if constexpr (Type::HAS_MINIMA) {
            const FloatVector minimum = Type::minimum(panel, part);
            for (int r = 0; r < N; r++) {
                float sum;
                std::memcpy(&sum, &row.sums[0][r], sizeof sum);
                sums[r] = multiply_add(minimum, broadcast(sum), sums[r]);
            }
        }
    }
    for (int r = 0; r < N; r++) {
        store_first(out + r * stride, sums[r], count);
    }
}

// Whether the products of a sub-block add up to a word of 16 bits, which one instruction multiplies with a scale and adds.
template <typename Type>
constexpr bool HAS_SMALL_DOTS =
    QUANTIZED / Type::SCALES_OF_32 * std::max(Type::OFFSET, (1 << Type::BITS) - 1 - Type::OFFSET) * 128 < 1 << 15;

// And with blocks of 256, which are summed up in whole numbers.
template <typename Type, int N>
void multiply_256(
    const typename Type::Panel * panels, const Activations<Type, N> * rows, int64_t blocks, int part, float * out, int64_t stride,
    int64_t count) {
    constexpr int SCALES = Type::SCALES_OF_32, VECTORS = 8 / SCALES;
    FloatVector sums[N];
    for (int r = 0; r < N; r++) {
        sums[r] = broadcast(0.0f);
    }
    for (int64_t b = 0; b < blocks; b++) {
        const typename Type::Panel & panel = panels[b];
        const Activations<Type, N> & row = rows[b];
        prefetch_after<N>(panel);
        typename Type::Scales scales;
        Type::unpack_scales(panel, scales);
        Ints totals[N];
        for (int r = 0; r < N; r++) {
            totals[r] = all_ints(0);
        }
        for (int first = 0; first < Activations<Type, N>::SUBS; first += Type::TOGETHER) {
#pragma GCC unroll 4
            for (int number = 0; number < Type::TOGETHER; number++) {
                const int sub = first + number;
                Bytes weights[8];
                Type::unpack(panel, first, number, part, weights);
                for (int s = 0; s < SCALES; s++) {
                    const Ints scale = scales.at(SCALES * sub + s, part);
                    Ints dots[N];
                    for (int r = 0; r < N; r++) {
                        dots[r] = all_ints(Type::OFFSET ? row.sums[SCALES * sub + s][r] : 0);
                    }
                    add_dots<Type::BITS, VECTORS>(weights + VECTORS * s, row.values[sub][0] + 4 * VECTORS * s, QUANTIZED, dots);
                    for (int r = 0; r < N; r++) {
                        if constexpr (HAS_SMALL_DOTS<Type>) {
                            totals[r] = add_small_product(totals[r], dots[r], scale);
                        } else {
                            totals[r] = add_ints(totals[r], multiply_ints(dots[r], scale));
                        }
                    }
                }
            }
        }
        const FloatVector scale = load_half(panel.d + SIMD_WIDTH * part);
        for (int r = 0; r < N; r++) {
            sums[r] = multiply_add(floats_of(totals[r]), multiply(scale, broadcast(row.scales[r])), sums[r]);
        }
        if constexpr (Type::HAS_MINIMA) {
            const FloatVector least = load_half(panel.dmin + SIMD_WIDTH * part);
            for (int r = 0; r < N; r++) {
                Ints below = all_ints(0);
                for (int pair = 0; pair < Type::SUMS; pair++) {
                    below = dot_pairs(below, scales.minima(pair, part), row.sums[pair][r]);
                }
                sums[r] = subtract_product(floats_of(below), multiply(least, broadcast(row.scales[r])), sums[r]);
            }
        }
    }
    for (int r = 0; r < N; r++) {
        store_first(out + r * stride, sums[r], count);
    }
}

// out[r * stride + 0..count]: the rows of one panel, of which `count` exist.
template <typename Type, int N>
void multiply_panel(
    const typename Type::Panel * panels, const void * rows, int64_t blocks, float * out, int64_t stride, int64_t count) {
    for (int part = 0; part < PANEL_ROWS / SIMD_WIDTH && count > part * SIMD_WIDTH; part++) {
        const int64_t left = count - part * SIMD_WIDTH;
        float * to = out + part * SIMD_WIDTH;
        if constexpr (IS_FLOAT<Type>) {
            multiply_floats<Type, N>(panels, static_cast<const FloatActivations<Type, N> *>(rows), blocks, part, to, stride, left);
        } else if constexpr (Type::VALUES == QUANTIZED) {
            multiply_32<Type, N>(panels, static_cast<const Activations<Type, N> *>(rows), blocks, part, to, stride, left);
        } else {
            multiply_256<Type, N>(panels, static_cast<const Activations<Type, N> *>(rows), blocks, part, to, stride, left);
        }
    }
}

}  // namespace few_rows

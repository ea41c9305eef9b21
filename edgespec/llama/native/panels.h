// Products of a weight matrix in panels of 16 rows, with few or many activation rows.
//
// A vector holds four neighbouring weights of each matrix row, a row to a lane, so that one instruction multiplies them with
// four activations: no sum ever goes across lanes, scales are applied to 16 matrix rows at once, and all activation rows of a
// group share every unpacked vector. A row's sums are made in the same order whatever the size of its group.
//
// A type of weights is a struct (panel_types.h, panel_types_k.h) with
//   Source        ggml's block, Panel the same blocks of 16 matrix rows, in as many bytes
//   VALUES        weights of a block: 32, or 256 with whole-numbered scales of sub-blocks
//   BITS          of an unpacked weight, which is OFFSET too high
//   pack          makes a panel of 16 blocks
//   unpack        makes the vectors of 32 weights

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

// How far ahead of their use weights are asked for. One or two rows leave the processor time to wait only for the nearest cache;
// more keep its arithmetic busy, and what they will need must come from further ahead, into the second-level cache, which has
// more places for reads on their way. (Zen 5, the 1.5B, one row: 59 tokens per second so, 47 from 16 KiB ahead, 26 without.)
constexpr size_t AHEAD_OF_FEW_BYTES = 4096, AHEAD_OF_MANY_BYTES = 16384;

template <int N, typename Panel>
void prefetch_after(const Panel & panel) {
    const auto * from = reinterpret_cast<const char *>(&panel);
    for (size_t at = 0; at < sizeof(Panel); at += 64) {
        if constexpr (N <= 2) {
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

template <typename Type>
constexpr size_t activation_bytes() {
    return sizeof(Activations<Type, 1>);
}

// out[r * stride + 0..SIMD_WIDTH]: matrix rows of one part of a panel times the N rows of a group. Blocks of 32.
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

// The same with blocks of 256, which are summed up in whole numbers.
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
        for (int sub = 0; sub < Activations<Type, N>::SUBS; sub++) {
            Bytes weights[8];
            Type::unpack(panel, sub, part, weights);
            for (int s = 0; s < SCALES; s++) {
                const Ints scale = scales.at(SCALES * sub + s, part);
                Ints dots[N];
                for (int r = 0; r < N; r++) {
                    dots[r] = all_ints(Type::OFFSET ? row.sums[SCALES * sub + s][r] : 0);
                }
                add_dots<Type::BITS, VECTORS>(weights + VECTORS * s, row.values[sub][0] + 4 * VECTORS * s, QUANTIZED, dots);
                for (int r = 0; r < N; r++) {
                    totals[r] = add_ints(totals[r], multiply_ints(dots[r], scale));
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
    const auto * group = static_cast<const Activations<Type, N> *>(rows);
    for (int part = 0; part < PANEL_ROWS / SIMD_WIDTH && count > part * SIMD_WIDTH; part++) {
        if constexpr (Type::VALUES == QUANTIZED) {
            multiply_32<Type, N>(panels, group, blocks, part, out + part * SIMD_WIDTH, stride, count - part * SIMD_WIDTH);
        } else {
            multiply_256<Type, N>(panels, group, blocks, part, out + part * SIMD_WIDTH, stride, count - part * SIMD_WIDTH);
        }
    }
}

}  // namespace few_rows

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

#include "lanes.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace few_rows {

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
            prefetch_near(from + AHEAD_OF_FEW_BYTES + at);
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

// out[r * stride + 0..LANES]: matrix rows of one part of a panel times the N rows of a group. Blocks of 32.
template <typename Type, int N>
void multiply_32(
    const typename Type::Panel * panels, const Activations<Type, N> * rows, int64_t blocks, int part, float * out, int64_t stride,
    int64_t count) {
    Floats sums[N];
    for (int r = 0; r < N; r++) {
        sums[r] = no_floats();
    }
    for (int64_t b = 0; b < blocks; b++) {
        const typename Type::Panel & panel = panels[b];
        const Activations<Type, N> & row = rows[b];
        prefetch_after<N>(panel);
        Bytes weights[8];
        Type::unpack(panel, part, weights);
        const Floats scale = Type::scale(panel, part);
        Ints dots[N];
        for (int r = 0; r < N; r++) {
            dots[r] = all_ints(Type::OFFSET ? row.sums[0][r] : 0);
        }
        add_dots<Type::BITS, 8>(weights, row.values[0][0], QUANTIZED, dots);
        for (int r = 0; r < N; r++) {
            sums[r] = add_product(floats_of(dots[r]), multiply_floats(scale, all_floats(row.scales[r])), sums[r]);
        }
        if constexpr (Type::HAS_MINIMA) {
            const Floats minimum = Type::minimum(panel, part);
            for (int r = 0; r < N; r++) {
                float sum;
                std::memcpy(&sum, &row.sums[0][r], sizeof sum);
                sums[r] = add_product(minimum, all_floats(sum), sums[r]);
            }
        }
    }
    for (int r = 0; r < N; r++) {
        store_floats(out + r * stride, sums[r], count);
    }
}

// The same with blocks of 256, which are summed up in whole numbers.
template <typename Type, int N>
void multiply_256(
    const typename Type::Panel * panels, const Activations<Type, N> * rows, int64_t blocks, int part, float * out, int64_t stride,
    int64_t count) {
    constexpr int SCALES = Type::SCALES_OF_32, VECTORS = 8 / SCALES;
    Floats sums[N];
    for (int r = 0; r < N; r++) {
        sums[r] = no_floats();
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
        const Floats scale = floats_of(panel.d + LANES * part);
        for (int r = 0; r < N; r++) {
            sums[r] = add_product(floats_of(totals[r]), multiply_floats(scale, all_floats(row.scales[r])), sums[r]);
        }
        if constexpr (Type::HAS_MINIMA) {
            const Floats least = floats_of(panel.dmin + LANES * part);
            for (int r = 0; r < N; r++) {
                Ints below = all_ints(0);
                for (int pair = 0; pair < Type::SUMS; pair++) {
                    below = dot_pairs(below, scales.minima(pair, part), row.sums[pair][r]);
                }
                sums[r] = subtract_product(floats_of(below), multiply_floats(least, all_floats(row.scales[r])), sums[r]);
            }
        }
    }
    for (int r = 0; r < N; r++) {
        store_floats(out + r * stride, sums[r], count);
    }
}

// out[r * stride + 0..count]: the rows of one panel, of which `count` exist.
template <typename Type, int N>
void multiply_panel(
    const typename Type::Panel * panels, const void * rows, int64_t blocks, float * out, int64_t stride, int64_t count) {
    const auto * group = static_cast<const Activations<Type, N> *>(rows);
    for (int part = 0; part < PANEL_ROWS / LANES && count > part * LANES; part++) {
        if constexpr (Type::VALUES == QUANTIZED) {
            multiply_32<Type, N>(panels, group, blocks, part, out + part * LANES, stride, count - part * LANES);
        } else {
            multiply_256<Type, N>(panels, group, blocks, part, out + part * LANES, stride, count - part * LANES);
        }
    }
}

}  // namespace few_rows

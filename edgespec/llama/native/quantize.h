// Activation rows, quantized as ggml does and laid out for products with panels.

#pragma once

#include "panels.h"
#include "simd.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace few_rows {

// The 256 values of a Q8_K block as quantize_row_q8_K makes them: scaled so that the largest one becomes -127.
inline float quantize_256(const float * from, int8_t * to) {
    FloatVector high = load(from), low = high;
    for (int i = SIMD_WIDTH; i < QK_K; i += SIMD_WIDTH) {
        high = larger(high, load(from + i));
        low = smaller(low, load(from + i));
    }
    const float highest = largest(high), lowest = -largest(multiply(low, broadcast(-1.0f)));
    float most = highest > -lowest ? highest : lowest;
    if (highest == -lowest) {
        most = *std::find_if(from, from + QK_K, [&](float value) { return value == highest || value == lowest; });
    }
    if (!(std::fabs(most) > 0.0f)) {
        std::memset(to, 0, QK_K);
        return 0.0f;
    }
    const float factor = -127.0f / most;
    for (int i = 0; i < QK_K; i += SIMD_WIDTH) {
        store_rounded(to + i, multiply(load(from + i), broadcast(factor)));
    }
    return 1.0f / factor;
}

// Of one row of a group of `n`, as its number `r`: the block at `at`.
template <typename Type>
void quantize_values(const float * from, char * at, int64_t n, int64_t r) {
    constexpr int SUBS = Type::VALUES / QUANTIZED;
    auto * sums = reinterpret_cast<int32_t *>(at + n * SUBS * QUANTIZED);
    auto * scales = reinterpret_cast<float *>(sums + n * Type::SUMS);
    if constexpr (Type::VALUES == QUANTIZED) {
        typename std::conditional<Type::HAS_MINIMA, block_q8_1, block_q8_0>::type quantized;
        constexpr ggml_type type = Type::HAS_MINIMA ? GGML_TYPE_Q8_1 : GGML_TYPE_Q8_0;
        ggml_get_type_traits_cpu(type)->from_float(from, &quantized, QUANTIZED);
        std::memcpy(at + r * QUANTIZED, quantized.qs, QUANTIZED);
        // Both kinds of block begin with their scale, and Q8_1 has the sum of its values, times the scale, behind it.
        ggml_half halves[2];
        std::memcpy(halves, &quantized, sizeof halves);
        scales[r] = GGML_CPU_FP16_TO_FP32(halves[0]);
        if constexpr (Type::HAS_MINIMA) {
            const float sum = GGML_CPU_FP16_TO_FP32(halves[1]);
            std::memcpy(sums + r, &sum, sizeof sum);
        } else {
            int32_t sum = 0;
            for (int i = 0; i < QUANTIZED; i++) {
                sum += quantized.qs[i];
            }
            sums[r] = -Type::OFFSET * sum;
        }
    } else {
        alignas(64) int8_t values[QK_K];
        scales[r] = quantize_256(from, values);
        for (int sub = 0; sub < SUBS; sub++) {
            std::memcpy(at + (sub * n + r) * QUANTIZED, values + sub * QUANTIZED, QUANTIZED);
        }
        constexpr int SUMMED = QK_K / (8 * Type::SCALES_OF_32);
        int32_t of_sub[QK_K / SUMMED];
        for (int sub = 0; sub < QK_K / SUMMED; sub++) {
            int32_t sum = 0;
            for (int i = 0; i < SUMMED; i++) {
                sum += values[sub * SUMMED + i];
            }
            of_sub[sub] = sum;
        }
        for (int i = 0; i < Type::SUMS; i++) {
            // Minima are summed up by pairs of words.
            sums[i * n + r] = Type::HAS_MINIMA ? (of_sub[2 * i] & 0xffff) | of_sub[2 * i + 1] * 65536
                                               : -Type::OFFSET * of_sub[i];
        }
    }
}

// One row of a group of `n`, as its number `r`: its block `block` of Type::VALUES values, quantized unless the weights are floats.
template <typename Type>
void quantize_block(const float * from, char * group, int64_t block, int64_t n, int64_t r) {
    char * at = group + block * n * activation_bytes<Type>();
    if constexpr (IS_FLOAT<Type>) {
        for (int step = 0; step < Type::STEPS; step++) {
            const typename Type::Value value = Type::value(from + step * Type::VALUES / Type::STEPS);
            std::memcpy(at + (step * n + r) * sizeof value, &value, sizeof value);
        }
    } else {
        quantize_values<Type>(from, at, n, r);
    }
}

// Rows in groups as equal as can be: group g has the rows from first(g) to first(g + 1).
struct Groups {
    int64_t rows, count;

    explicit Groups(int64_t rows) : rows(rows), count((rows + MOST_ROWS - 1) / MOST_ROWS) {}
    int64_t first(int64_t group) const { return rows * group / count; }
    // The group of a row: the last one that does not begin after it.
    int64_t of(int64_t row) const { return ((row + 1) * count - 1) / rows; }
};

}  // namespace few_rows

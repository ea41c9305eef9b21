// RMSNorm (https://arxiv.org/abs/1910.07467), a row at a time.

#pragma once

#include "ggml-impl.h"

#include <cmath>
#include <cstdint>
#include <cstring>

namespace few_rows {

// What is added to the mean of the squares.
inline float epsilon_of(const ggml_tensor * norm) {
    float epsilon;
    std::memcpy(&epsilon, norm->op_params, sizeof epsilon);
    return epsilon;
}

// A norm over rows in single precision, and the product with its weights that follows, if one does.
struct Norm {
    ggml_tensor * norm = nullptr;
    ggml_tensor * scaled = nullptr;

    const ggml_tensor * rows() const { return norm->src[0]; }
    ggml_tensor * result() const { return scaled ? scaled : norm; }

    // Row `i` of `rows`, counted over all dimensions. ggml sums up one value after the other, which takes as long as the
    // processor takes for an addition, by so many values; here sums are made side by side.
    void apply(const float * from, float * to) const {
        constexpr int64_t SUMS = 16;
        const int64_t size = norm->ne[0];
        double sums[SUMS] = {};
        int64_t i = 0;
        for (; i + SUMS <= size; i += SUMS) {
            for (int64_t s = 0; s < SUMS; s++) {
                sums[s] += static_cast<double>(from[i + s] * from[i + s]);
            }
        }
        double sum = 0.0;
        for (; i < size; i++) {
            sum += static_cast<double>(from[i] * from[i]);
        }
        for (double part : sums) {
            sum += part;
        }
        const float mean = sum / size, scale = 1.0f / std::sqrt(mean + epsilon_of(norm));
        if (const float * weights = this->weights()) {
            for (i = 0; i < size; i++) {
                to[i] = from[i] * scale * weights[i];
            }
        } else {
            for (i = 0; i < size; i++) {
                to[i] = from[i] * scale;
            }
        }
    }

private:
    const float * weights() const {
        if (scaled == nullptr) {
            return nullptr;
        }
        return static_cast<const float *>(scaled->src[scaled->src[0] == norm ? 1 : 0]->data);
    }
};

// A row of a tensor in single precision, counted over all its dimensions.
inline float * row_at(const ggml_tensor * rows, int64_t i) {
    const int64_t i1 = i % rows->ne[1], i2 = i / rows->ne[1] % rows->ne[2], i3 = i / rows->ne[1] / rows->ne[2];
    return reinterpret_cast<float *>(
        static_cast<char *>(rows->data) + i1 * rows->nb[1] + i2 * rows->nb[2] + i3 * rows->nb[3]);
}

}  // namespace few_rows

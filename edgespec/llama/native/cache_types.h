// Types of a KV cache that attention.h reads: each says how a vector of floats comes out of a row, and where in the row it begins.

#pragma once

#define GGML_COMMON_DECL_CPP
#include "ggml-common.h"

#include "simd.h"

#include <cstdint>
#include <cstring>

namespace few_rows {

struct HalfCache {
    static constexpr int64_t bytes(int64_t floats) { return sizeof(ggml_fp16_t) * floats; }
    static FloatVector load(const char * row, int64_t d) { return load_half(reinterpret_cast<const ggml_fp16_t *>(row) + d); }
};

struct Q8_0Cache {
    static constexpr int64_t bytes(int64_t floats) { return floats * sizeof(block_q8_0) / QK8_0; }
    static FloatVector load(const char * row, int64_t d) {
        const auto & block = reinterpret_cast<const block_q8_0 *>(row)[d / QK8_0];
        return multiply(floats_of_signed(block.qs + d % QK8_0), broadcast_half(block.d));
    }
};

// What was a row of one of these, made floats.
struct FloatCache {
    static constexpr int64_t bytes(int64_t floats) { return sizeof(float) * floats; }
    static FloatVector load(const char * row, int64_t d) { return few_rows::load(reinterpret_cast<const float *>(row) + d); }
};

inline bool is_cache_type(ggml_type type) {
    return type == GGML_TYPE_F16 || type == GGML_TYPE_Q8_0;
}

// Calls run with the struct of a type.
template <typename Run>
void with_cache_type(ggml_type type, const Run & run) {
    if (type == GGML_TYPE_F16) {
        run(HalfCache{});
    } else {
        run(Q8_0Cache{});
    }
}

}  // namespace few_rows

// Types whose weights are floats of 16 bits (panels.h): activations are not quantized, but for BF16 where the processor
// multiplies pairs of these, which takes half the time.

#pragma once

#include "panels.h"

namespace few_rows {

// What a step multiplies, STEP neighbouring weights, lies side by side for 16 matrix rows.
template <int STEP>
struct Floats16 {
    struct Source {
        uint16_t weights[32];
    };
    static constexpr int VALUES = 32, BITS = 16, STEPS = VALUES / STEP;
    struct Panel {
        uint16_t weights[STEPS][PANEL_ROWS][STEP];
    };

    static void pack(const Source * const (&blocks)[PANEL_ROWS], Panel & panel) {
        for (int row = 0; row < PANEL_ROWS; row++) {
            for (int i = 0; i < VALUES; i++) {
                panel.weights[i / STEP][row][i % STEP] = blocks[row]->weights[i];
            }
        }
    }
};

struct F16 : Floats16<1> {
    using Value = float;
    static Value value(const float * from) { return *from; }
    static FloatVector unpack(const Panel & panel, int step, int part) { return load_half(panel.weights[step][SIMD_WIDTH * part]); }
    static FloatVector add(FloatVector sum, FloatVector weights, Value value) {
        return multiply_add(weights, broadcast(value), sum);
    }
};

#ifdef __AVX512BF16__

struct BF16 : Floats16<2> {
    using Value = int32_t;
    static Value value(const float * from) {
        return static_cast<Value>(ggml_fp32_to_bf16(from[0]).bits | static_cast<uint32_t>(ggml_fp32_to_bf16(from[1]).bits) << 16);
    }
    static Bytes unpack(const Panel & panel, int step, int part) { return load_bytes(panel.weights[step][SIMD_WIDTH * part]); }
    static FloatVector add(FloatVector sum, Bytes weights, Value value) { return dot_brains(sum, weights, value); }
};

#else

struct BF16 : Floats16<1> {
    using Value = float;
    static Value value(const float * from) { return *from; }
    static FloatVector unpack(const Panel & panel, int step, int part) {
        return bits_as_floats(shift_ints_up(ints_of_words(panel.weights[step][SIMD_WIDTH * part]), 16));
    }
    static FloatVector add(FloatVector sum, FloatVector weights, Value value) {
        return multiply_add(weights, broadcast(value), sum);
    }
};

#endif

}  // namespace few_rows

// NEON of AArch64 (simd.h): 32 registers of 4 lanes; products of bytes with i8mm, dotprod, or neither.

#pragma once

#include <arm_neon.h>

namespace few_rows {

constexpr int SIMD_WIDTH = 4, REGISTERS = 32;

using Bytes = uint8x16_t;
using Ints = int32x4_t;
using FloatVector = float32x4_t;

inline void prefetch(const void * from) { __builtin_prefetch(from, 0, 3); }
inline void prefetch_far(const void * from) { __builtin_prefetch(from, 0, 2); }

inline Bytes load_bytes(const void * from) { return vld1q_u8(static_cast<const uint8_t *>(from)); }
inline void store_bytes(void * to, Bytes bytes) { vst1q_u8(static_cast<uint8_t *>(to), bytes); }
inline Bytes all_bytes(int value) { return vdupq_n_u8(static_cast<uint8_t>(value)); }
inline Bytes and_bytes(Bytes a, Bytes b) { return vandq_u8(a, b); }
inline Bytes or_bytes(Bytes a, Bytes b) { return vorrq_u8(a, b); }
inline Bytes shift_down(Bytes a, int bits) { return vshlq_u8(a, vdupq_n_s8(static_cast<int8_t>(-bits))); }
inline Bytes shift_up(Bytes a, int bits) { return vshlq_u8(a, vdupq_n_s8(static_cast<int8_t>(bits))); }
inline Bytes table_of(const uint8_t * sixteen) { return vld1q_u8(sixteen); }
inline Bytes look_up(Bytes table, Bytes at) { return vqtbl1q_u8(table, at); }

inline Ints all_ints(int32_t value) { return vdupq_n_s32(value); }
inline uint8x8_t four_bytes(const void * bytes) {
    uint32_t word;
    std::memcpy(&word, bytes, sizeof word);
    return vreinterpret_u8_u32(vdup_n_u32(word));
}
inline Ints ints_of_signed(const void * bytes) {
    return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u8(four_bytes(bytes)))));
}
inline Ints ints_of_unsigned(const void * bytes) {
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(four_bytes(bytes)))));
}
inline Ints ints_of_words(const uint16_t * words) { return vreinterpretq_s32_u32(vmovl_u16(vld1_u16(words))); }
inline Ints pairs_of_unsigned(const void * bytes) {
    return vreinterpretq_s32_u16(vmovl_u8(vld1_u8(static_cast<const uint8_t *>(bytes))));
}
inline Ints add_ints(Ints a, Ints b) { return vaddq_s32(a, b); }
inline Ints multiply_ints(Ints a, Ints b) { return vmulq_s32(a, b); }
inline Ints add_small_product(Ints sum, Ints a, Ints b) { return vmlaq_s32(sum, a, b); }
inline Ints shift_ints_up(Ints ints, int bits) { return vshlq_s32(ints, vdupq_n_s32(bits)); }
inline Ints dot_pairs(Ints sum, Ints words, int32_t pair) {
    const int16x8_t a = vreinterpretq_s16_s32(words), b = vreinterpretq_s16_s32(vdupq_n_s32(pair));
    return vaddq_s32(sum, vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b)));
}

inline FloatVector broadcast(float value) { return vdupq_n_f32(value); }
inline FloatVector load(const float * from) { return vld1q_f32(from); }
inline FloatVector load_half(const ggml_fp16_t * from) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from))); }
inline FloatVector broadcast_half(uint16_t value) { return vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(value))); }
inline void store(float * to, FloatVector lanes) { vst1q_f32(to, lanes); }
inline FloatVector multiply(FloatVector a, FloatVector b) { return vmulq_f32(a, b); }
inline FloatVector add(FloatVector a, FloatVector b) { return vaddq_f32(a, b); }
inline FloatVector multiply_add(FloatVector a, FloatVector b, FloatVector sum) { return vfmaq_f32(sum, a, b); }
inline FloatVector subtract_product(FloatVector a, FloatVector b, FloatVector sum) { return vfmsq_f32(sum, a, b); }
inline FloatVector larger(FloatVector a, FloatVector b) { return vmaxq_f32(a, b); }
inline FloatVector smaller(FloatVector a, FloatVector b) { return vminq_f32(a, b); }
inline FloatVector floats_of(Ints ints) { return vcvtq_f32_s32(ints); }
inline FloatVector bits_as_floats(Ints ints) { return vreinterpretq_f32_s32(ints); }
inline FloatVector exponential(FloatVector lanes) {
#ifdef __ARM_FEATURE_SVE
    // There ggml has it for vectors of SVE only, which have at least these four lanes.
    float four[SIMD_WIDTH];
    store(four, lanes);
    const svbool_t first = svwhilelt_b32(0, SIMD_WIDTH);
    svst1_f32(first, four, ggml_v_expf(first, svld1_f32(first, four)));
    return load(four);
#else
    return ggml_v_expf(lanes);
#endif
}
inline void store_rounded(int8_t * to, FloatVector lanes) {
    const int16x4_t words = vqmovn_s32(vcvtnq_s32_f32(lanes));
    const uint32_t bytes = vget_lane_u32(vreinterpret_u32_s8(vqmovn_s16(vcombine_s16(words, words))), 0);
    std::memcpy(to, &bytes, sizeof bytes);
}
inline float largest(FloatVector lanes) { return vmaxvq_f32(lanes); }
inline bool any_above(FloatVector lanes, float limit) { return vmaxvq_u32(vcgtq_f32(lanes, broadcast(limit))) != 0; }
inline uint64_t bits_unlike(const uint16_t * words, uint16_t word) {
    static constexpr uint16_t BITS[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    const uint16x8_t like = vdupq_n_u16(word), bit = vld1q_u16(BITS);
    uint64_t bits = 0;
    for (int from = 0; from < 64; from += 8) {
        bits |= static_cast<uint64_t>(vaddvq_u16(vbicq_u16(bit, vceqq_u16(vld1q_u16(words + from), like)))) << from;
    }
    return bits;
}
inline FloatVector fold_four(FloatVector a, FloatVector b, FloatVector c, FloatVector d) {
    return vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d));
}
inline FloatVector join_folded(const FloatVector (&folded)[SIMD_WIDTH / 4]) { return folded[0]; }

#ifdef __ARM_FEATURE_MATMUL_INT8

constexpr int TOO_HIGH = 128;

template <int BITS, int LANE>
inline Ints add_dot(Ints sum, Bytes weights, int8x16_t values) {
    return vusdotq_laneq_s32(sum, weights, values, LANE);
}

#else

// All products of bytes but those of i8mm are of signed ones.
constexpr int TOO_HIGH = 0;

template <int BITS, int LANE>
inline Ints add_dot(Ints sum, Bytes weights, int8x16_t values) {
    const int8x16_t is_signed = vreinterpretq_s8_u8(BITS == 8 ? veorq_u8(weights, all_bytes(0x80)) : weights);
#    ifdef __ARM_FEATURE_DOTPROD
    return vdotq_laneq_s32(sum, is_signed, values, LANE);
#    else
    // Two products stay within 16 bits, because no value is -128.
    const int8x16_t four = vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(values), LANE));
    const int16x8_t low = vmull_s8(vget_low_s8(is_signed), vget_low_s8(four)), high = vmull_high_s8(is_signed, four);
    return vpadalq_s16(sum, vpaddq_s16(low, high));
#    endif
}

#endif

template <int BITS, int COUNT, int N>
inline void add_dots(const Bytes * weights, const int8_t * values, int64_t stride, Ints (&sums)[N]) {
    for (int i = 0; i < COUNT; i += 4) {
        for (int r = 0; r < N; r++) {
            const int8x16_t row = vld1q_s8(values + r * stride + 4 * i);
            sums[r] = add_dot<BITS, 0>(sums[r], weights[i], row);
            sums[r] = add_dot<BITS, 1>(sums[r], weights[i + 1], row);
            sums[r] = add_dot<BITS, 2>(sums[r], weights[i + 2], row);
            sums[r] = add_dot<BITS, 3>(sums[r], weights[i + 3], row);
        }
    }
}

}  // namespace few_rows

// Products of bytes where the processor adds them up in words of 16 bits: x86 without VNNI.

#pragma once

namespace few_rows {

// Weights of eight bits are made signed.
constexpr int TOO_HIGH = 0;

// Products are added by twos, as many as stay below 2^15. Of eight bits not even two do: there the values take over the signs
// of the weights.
template <int BITS, int COUNT, int N>
inline void add_dots(const Bytes * weights, const int8_t * values, int64_t stride, Ints (&sums)[N]) {
    constexpr int FIT = BITS <= 4 ? 8 : BITS == 5 ? 4 : BITS == 6 ? 2 : 1, AT_ONCE = FIT < COUNT ? FIT : COUNT;
    for (int r = 0; r < N; r++) {
        for (int from = 0; from < COUNT; from += AT_ONCE) {
            Ints words = all_ints(0);
            for (int i = from; i < from + AT_ONCE; i++) {
                Bytes weight = weights[i];
                Ints value = all_ints(four_values(values + r * stride + 4 * i));
                if constexpr (BITS == 8) {
                    const Bytes is_signed = flip_highest(weight);
                    value = with_sign_of(is_signed, value);
                    weight = magnitude(is_signed);
                }
                words = add_words(words, multiply_bytes(weight, value));
            }
            sums[r] = dot_pairs(sums[r], words, 0x10001);
        }
    }
}

}  // namespace few_rows

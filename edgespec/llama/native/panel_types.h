// Types with blocks of 32 weights (panels.h): a scale of each block, and perhaps a minimum.

#pragma once

#include "panels.h"

namespace few_rows {

// Copies `words` words of four bytes of each of 16 blocks, so that every 64 bytes have one word of each.
template <typename Source, typename Get>
void pack_words(const Source * const (&blocks)[PANEL_ROWS], int words, uint8_t * to, const Get & get) {
    for (int row = 0; row < PANEL_ROWS; row++) {
        const auto * from = reinterpret_cast<const char *>(get(*blocks[row]));
        for (int word = 0; word < words; word++) {
            std::memcpy(to + 64 * word + 4 * row, from + 4 * word, 4);
        }
    }
}

// Eight vectors from four, of the low and then of the high four bits.
inline void unpack_nibbles(const uint8_t * from, int part, Bytes (&weights)[8]) {
    const Bytes low = all_bytes(0x0f);
    for (int i = 0; i < 4; i++) {
        const Bytes bytes = load_bytes(from + 64 * i + 4 * SIMD_WIDTH * part);
        weights[i] = and_bytes(bytes, low);
        weights[i + 4] = and_bytes(shift_down(bytes, 4), low);
    }
}

template <typename Block>
struct NibblesOf32 {
    using Source = Block;
    static constexpr int VALUES = 32, BITS = 4, SUMS = 1;
    static constexpr bool HAS_MINIMA = false;
    struct Panel {
        ggml_half d[PANEL_ROWS];
        uint8_t qs[4 * 64];
    };

    static void pack(const Source * const (&blocks)[PANEL_ROWS], Panel & panel) {
        for (int row = 0; row < PANEL_ROWS; row++) {
            panel.d[row] = blocks[row]->d;
        }
        pack_words(blocks, 4, panel.qs, [](const Source & block) { return block.qs; });
    }

    static void unpack(const Panel & panel, int part, Bytes (&weights)[8]) { unpack_nibbles(panel.qs, part, weights); }
    static FloatVector scale(const Panel & panel, int part) { return load_half(panel.d + SIMD_WIDTH * part); }
};

struct Q4_0 : NibblesOf32<block_q4_0> {
    static constexpr int OFFSET = 8;
};

// Tables of ggml's, made positive. Written out: what has to be computed before it can be used would be when the library is opened,
// and a library for another processor is opened too, to be asked whether it fits.
struct IQ4_NL : NibblesOf32<block_iq4_nl> {
    static constexpr int BITS = 8, OFFSET = TOO_HIGH;
    // kvalues_iq4nl and 128 more.
    static constexpr uint8_t TABLE[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};

    static void unpack(const Panel & panel, int part, Bytes (&weights)[8]) {
        unpack_nibbles(panel.qs, part, weights);
        const Bytes values = table_of(TABLE);
        for (Bytes & weight : weights) {
            weight = look_up(values, weight);
        }
    }
};

struct MXFP4 {
    using Source = block_mxfp4;
    static constexpr int VALUES = 32, BITS = 5, OFFSET = 12, SUMS = 1;
    static constexpr bool HAS_MINIMA = false;
    struct Panel {
        uint8_t e[PANEL_ROWS];
        uint8_t qs[4 * 64];
    };
    // kvalues_mxfp4 and 12 more.
    static constexpr uint8_t TABLE[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

    static void pack(const Source * const (&blocks)[PANEL_ROWS], Panel & panel) {
        for (int row = 0; row < PANEL_ROWS; row++) {
            panel.e[row] = blocks[row]->e;
        }
        pack_words(blocks, 4, panel.qs, [](const Source & block) { return block.qs; });
    }

    static void unpack(const Panel & panel, int part, Bytes (&weights)[8]) {
        unpack_nibbles(panel.qs, part, weights);
        const Bytes values = table_of(TABLE);
        for (Bytes & weight : weights) {
            weight = look_up(values, weight);
        }
    }

    // 2^(e - 128), as the table has twice the values; nothing where e is 0.
    static FloatVector scale(const Panel & panel, int part) {
        const Ints exponents = ints_of_unsigned(panel.e + SIMD_WIDTH * part);
        return multiply(bits_as_floats(shift_ints_up(exponents, 23)), broadcast(0.5f));
    }
};

struct Q4_1 {
    using Source = block_q4_1;
    static constexpr int VALUES = 32, BITS = 4, OFFSET = 0, SUMS = 1;
    static constexpr bool HAS_MINIMA = true;
    struct Panel {
        ggml_half d[PANEL_ROWS], m[PANEL_ROWS];
        uint8_t qs[4 * 64];
    };

    static void pack(const Source * const (&blocks)[PANEL_ROWS], Panel & panel) {
        for (int row = 0; row < PANEL_ROWS; row++) {
            panel.d[row] = blocks[row]->data.data.d;
            panel.m[row] = blocks[row]->data.data.m;
        }
        pack_words(blocks, 4, panel.qs, [](const Source & block) { return block.qs; });
    }

    static void unpack(const Panel & panel, int part, Bytes (&weights)[8]) { unpack_nibbles(panel.qs, part, weights); }
    static FloatVector scale(const Panel & panel, int part) { return load_half(panel.d + SIMD_WIDTH * part); }
    static FloatVector minimum(const Panel & panel, int part) { return load_half(panel.m + SIMD_WIDTH * part); }
};

// The fifth bits of 32 weights, so that bit i of a byte is that of vector i: of weights 4 * i + 0..3.
inline void pack_fifth_bits(const uint8_t (&from)[4], uint8_t * four) {
    uint32_t bits;
    std::memcpy(&bits, from, sizeof bits);
    for (int k = 0; k < 4; k++) {
        uint32_t byte = (bits >> k) & 0x11111111;
        byte = (byte | byte >> 3) & 0x03030303;
        byte = (byte | byte >> 6) & 0x000f000f;
        four[k] = static_cast<uint8_t>(byte | byte >> 12);
    }
}

inline void add_fifth_bits(const uint8_t * from, int part, Bytes (&weights)[8]) {
    const Bytes bits = load_bytes(from + 4 * SIMD_WIDTH * part), fifth = all_bytes(0x10);
    for (int i = 0; i < 8; i++) {
        const Bytes moved = i < 4 ? shift_up(bits, 4 - i) : shift_down(bits, i - 4);
        weights[i] = or_bytes(weights[i], and_bytes(moved, fifth));
    }
}

struct Q5_0 {
    using Source = block_q5_0;
    static constexpr int VALUES = 32, BITS = 5, OFFSET = 16, SUMS = 1;
    static constexpr bool HAS_MINIMA = false;
    struct Panel {
        ggml_half d[PANEL_ROWS];
        uint8_t qh[64];
        uint8_t qs[4 * 64];
    };

    static void pack(const Source * const (&blocks)[PANEL_ROWS], Panel & panel) {
        for (int row = 0; row < PANEL_ROWS; row++) {
            panel.d[row] = blocks[row]->d;
            pack_fifth_bits(blocks[row]->qh, panel.qh + 4 * row);
        }
        pack_words(blocks, 4, panel.qs, [](const Source & block) { return block.qs; });
    }

    static void unpack(const Panel & panel, int part, Bytes (&weights)[8]) {
        unpack_nibbles(panel.qs, part, weights);
        add_fifth_bits(panel.qh, part, weights);
    }
    static FloatVector scale(const Panel & panel, int part) { return load_half(panel.d + SIMD_WIDTH * part); }
};

struct Q5_1 {
    using Source = block_q5_1;
    static constexpr int VALUES = 32, BITS = 5, OFFSET = 0, SUMS = 1;
    static constexpr bool HAS_MINIMA = true;
    struct Panel {
        ggml_half d[PANEL_ROWS], m[PANEL_ROWS];
        uint8_t qh[64];
        uint8_t qs[4 * 64];
    };

    static void pack(const Source * const (&blocks)[PANEL_ROWS], Panel & panel) {
        for (int row = 0; row < PANEL_ROWS; row++) {
            panel.d[row] = blocks[row]->data.data.d;
            panel.m[row] = blocks[row]->data.data.m;
            pack_fifth_bits(blocks[row]->qh, panel.qh + 4 * row);
        }
        pack_words(blocks, 4, panel.qs, [](const Source & block) { return block.qs; });
    }

    static void unpack(const Panel & panel, int part, Bytes (&weights)[8]) {
        unpack_nibbles(panel.qs, part, weights);
        add_fifth_bits(panel.qh, part, weights);
    }
    static FloatVector scale(const Panel & panel, int part) { return load_half(panel.d + SIMD_WIDTH * part); }
    static FloatVector minimum(const Panel & panel, int part) { return load_half(panel.m + SIMD_WIDTH * part); }
};

// Stored with the highest bit flipped, as unsigned weights.
struct Q8_0 {
    using Source = block_q8_0;
    static constexpr int VALUES = 32, BITS = 8, OFFSET = TOO_HIGH, SUMS = 1;
    static constexpr bool HAS_MINIMA = false;
    struct Panel {
        ggml_half d[PANEL_ROWS];
        uint8_t qs[8 * 64];
    };

    static void pack(const Source * const (&blocks)[PANEL_ROWS], Panel & panel) {
        for (int row = 0; row < PANEL_ROWS; row++) {
            panel.d[row] = blocks[row]->d;
        }
        pack_words(blocks, 8, panel.qs, [](const Source & block) { return block.qs; });
        for (uint8_t & weight : panel.qs) {
            weight ^= 0x80;
        }
    }

    static void unpack(const Panel & panel, int part, Bytes (&weights)[8]) {
        for (int i = 0; i < 8; i++) {
            weights[i] = load_bytes(panel.qs + 64 * i + 4 * SIMD_WIDTH * part);
        }
    }
    static FloatVector scale(const Panel & panel, int part) { return load_half(panel.d + SIMD_WIDTH * part); }
};

}  // namespace few_rows

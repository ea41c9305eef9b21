// Types with blocks of 256 weights (panels.h): whole-numbered scales of 8 or 16 sub-blocks, and one scale for all of them.

#pragma once

#include "panel_types.h"

namespace few_rows {

// What Q4_K and Q5_K share: scales and minima of six bits, for sub-blocks of 32. Their low four bits are in `low`, a scale and a
// minimum to a byte, and the high two bits of four to a byte of `high`. Minima are in pairs of sub-blocks.
struct SixBitScales {
    struct Packed {
        uint8_t low[128], high[64];
    };
    alignas(64) uint8_t scales[128];
    alignas(64) uint8_t least[128];

    static void pack(const uint8_t * const (&from)[PANEL_ROWS], Packed & packed) {
        uint8_t scale[128], minimum[128];
        for (int row = 0; row < PANEL_ROWS; row++) {
            for (int sub = 0; sub < 8; sub++) {
                const uint8_t * q = from[row];
                scale[16 * sub + row] = sub < 4 ? q[sub] & 63 : (q[sub + 4] & 15) | (q[sub - 4] >> 6) << 4;
                minimum[32 * (sub / 2) + 2 * row + sub % 2] = sub < 4 ? q[sub + 4] & 63 : q[sub + 4] >> 4 | (q[sub] >> 6) << 4;
            }
        }
        for (int i = 0; i < 128; i++) {
            packed.low[i] = static_cast<uint8_t>((scale[i] & 15) | (minimum[i] & 15) << 4);
        }
        for (int i = 0; i < 64; i++) {
            packed.high[i] = static_cast<uint8_t>(
                scale[i] >> 4 | minimum[i] >> 4 << 2 | scale[i + 64] >> 4 << 4 | minimum[i + 64] >> 4 << 6);
        }
    }

    // All of a panel but its weights.
    template <typename Source, typename Panel>
    static void pack_scales(const Source * const (&blocks)[PANEL_ROWS], Panel & panel) {
        const uint8_t * scales[PANEL_ROWS];
        for (int row = 0; row < PANEL_ROWS; row++) {
            panel.d[row] = blocks[row]->data.data.d;
            panel.dmin[row] = blocks[row]->data.data.dmin;
            scales[row] = blocks[row]->scales;
        }
        pack(scales, panel.scales);
    }

    void unpack(const Packed & packed) {
        const Bytes low_four = all_bytes(0x0f), high_two = all_bytes(0x30);
        for (size_t i = 0; i < 64; i += sizeof(Bytes)) {
            const Bytes first = load_bytes(packed.low + i), second = load_bytes(packed.low + 64 + i);
            const Bytes high = load_bytes(packed.high + i);
            const auto join = [&](Bytes low, Bytes moved) {
                return or_bytes(and_bytes(low, low_four), and_bytes(moved, high_two));
            };
            store_bytes(scales + i, join(first, shift_up(high, 4)));
            store_bytes(least + i, join(shift_down(first, 4), shift_up(high, 2)));
            store_bytes(scales + 64 + i, join(second, high));
            store_bytes(least + 64 + i, join(shift_down(second, 4), shift_down(high, 2)));
        }
    }

    Ints at(int sub, int part) const { return ints_of_unsigned(scales + 16 * sub + SIMD_WIDTH * part); }
    Ints minima(int pair, int part) const { return pairs_of_unsigned(least + 32 * pair + 2 * SIMD_WIDTH * part); }
};

// Scales of a byte each, `SUBS` of them.
template <int SUBS>
struct ByteScales {
    const int8_t * scales;

    Ints at(int sub, int part) const { return ints_of_signed(scales + 16 * sub + SIMD_WIDTH * part); }
};

struct Q4_K {
    using Source = block_q4_K;
    using Scales = SixBitScales;
    static constexpr int VALUES = 256, BITS = 4, OFFSET = 0, SUMS = 4, SCALES_OF_32 = 1, TOGETHER = 2;
    static constexpr bool HAS_MINIMA = true;
    struct Panel {
        ggml_half d[PANEL_ROWS], dmin[PANEL_ROWS];
        SixBitScales::Packed scales;
        uint8_t qs[32 * 64];
    };

    static void pack(const Source * const (&blocks)[PANEL_ROWS], Panel & panel) {
        SixBitScales::pack_scales(blocks, panel);
        pack_words(blocks, 32, panel.qs, [](const Source & block) { return block.qs; });
    }

    static void unpack_scales(const Panel & panel, Scales & scales) { scales.unpack(panel.scales); }
    static void unpack(const Panel & panel, int first, int number, int part, Bytes (&weights)[8]) {
        for (int i = 0; i < 8; i++) {
            const Bytes bytes = load_bytes(panel.qs + 512 * (first / 2) + 64 * i + 4 * SIMD_WIDTH * part);
            weights[i] = and_bytes(shift_down(bytes, 4 * number), all_bytes(0x0f));
        }
    }
};

struct Q5_K {
    using Source = block_q5_K;
    using Scales = SixBitScales;
    static constexpr int VALUES = 256, BITS = 5, OFFSET = 0, SUMS = 4, SCALES_OF_32 = 1, TOGETHER = 2;
    static constexpr bool HAS_MINIMA = true;
    struct Panel {
        ggml_half d[PANEL_ROWS], dmin[PANEL_ROWS];
        SixBitScales::Packed scales;
        uint8_t qh[8 * 64];
        uint8_t qs[32 * 64];
    };

    static void pack(const Source * const (&blocks)[PANEL_ROWS], Panel & panel) {
        SixBitScales::pack_scales(blocks, panel);
        pack_words(blocks, 8, panel.qh, [](const Source & block) { return block.qh; });
        pack_words(blocks, 32, panel.qs, [](const Source & block) { return block.qs; });
    }

    static void unpack_scales(const Panel & panel, Scales & scales) { scales.unpack(panel.scales); }
    static void unpack(const Panel & panel, int first, int number, int part, Bytes (&weights)[8]) {
        const int at = 4 * SIMD_WIDTH * part;
        for (int i = 0; i < 8; i++) {
            const Bytes bytes = load_bytes(panel.qs + 512 * (first / 2) + 64 * i + at);
            const Bytes fifth = and_bytes(shift_down(load_bytes(panel.qh + 64 * i + at), first + number), all_bytes(1));
            weights[i] = or_bytes(and_bytes(shift_down(bytes, 4 * number), all_bytes(0x0f)), shift_up(fifth, 4));
        }
    }
};

struct Q6_K {
    using Source = block_q6_K;
    using Scales = ByteScales<16>;
    static constexpr int VALUES = 256, BITS = 6, OFFSET = 32, SUMS = 16, SCALES_OF_32 = 2, TOGETHER = 1;
    static constexpr bool HAS_MINIMA = false;
    struct Panel {
        ggml_half d[PANEL_ROWS];
        int8_t scales[16 * PANEL_ROWS];
        uint8_t qh[16 * 64];
        uint8_t ql[32 * 64];
    };

    static void pack(const Source * const (&blocks)[PANEL_ROWS], Panel & panel) {
        for (int row = 0; row < PANEL_ROWS; row++) {
            panel.d[row] = blocks[row]->d;
            for (int sub = 0; sub < 16; sub++) {
                panel.scales[16 * sub + row] = blocks[row]->scales[sub];
            }
        }
        pack_words(blocks, 16, panel.qh, [](const Source & block) { return block.qh; });
        pack_words(blocks, 32, panel.ql, [](const Source & block) { return block.ql; });
    }

    static void unpack_scales(const Panel & panel, Scales & scales) { scales.scales = panel.scales; }
    static void unpack(const Panel & panel, int sub, int, int part, Bytes (&weights)[8]) {
        const int half = sub / 4, quarter = sub % 4, at = 4 * SIMD_WIDTH * part;
        for (int i = 0; i < 8; i++) {
            const Bytes low = load_bytes(panel.ql + 1024 * half + 512 * (quarter % 2) + 64 * i + at);
            const Bytes high = load_bytes(panel.qh + 512 * half + 64 * i + at);
            const Bytes two = and_bytes(shift_down(high, 2 * quarter), all_bytes(3));
            weights[i] = or_bytes(and_bytes(shift_down(low, 4 * (quarter / 2)), all_bytes(0x0f)), shift_up(two, 4));
        }
    }
};

struct Q3_K {
    using Source = block_q3_K;
    using Scales = ByteScales<16>;
    static constexpr int VALUES = 256, BITS = 3, OFFSET = 4, SUMS = 16, SCALES_OF_32 = 2, TOGETHER = 1;
    static constexpr bool HAS_MINIMA = false;
    // Scales have six bits in the file, and a byte here.
    struct Panel {
        ggml_half d[PANEL_ROWS];
        int8_t scales[16 * PANEL_ROWS];
        uint8_t hmask[8 * 64];
        uint8_t qs[16 * 64];
    };

    static void pack(const Source * const (&blocks)[PANEL_ROWS], Panel & panel) {
        for (int row = 0; row < PANEL_ROWS; row++) {
            const uint8_t * q = blocks[row]->scales;
            panel.d[row] = blocks[row]->d;
            for (int sub = 0; sub < 16; sub++) {
                const int low = sub < 8 ? q[sub] & 15 : q[sub - 8] >> 4, high = q[8 + sub % 4] >> 2 * (sub / 4) & 3;
                panel.scales[16 * sub + row] = static_cast<int8_t>((low | high << 4) - 32);
            }
        }
        pack_words(blocks, 8, panel.hmask, [](const Source & block) { return block.hmask; });
        pack_words(blocks, 16, panel.qs, [](const Source & block) { return block.qs; });
    }

    static void unpack_scales(const Panel & panel, Scales & scales) { scales.scales = panel.scales; }
    static void unpack(const Panel & panel, int sub, int, int part, Bytes (&weights)[8]) {
        const int at = 4 * SIMD_WIDTH * part;
        for (int i = 0; i < 8; i++) {
            const Bytes low = load_bytes(panel.qs + 512 * (sub / 4) + 64 * i + at);
            const Bytes third = and_bytes(shift_down(load_bytes(panel.hmask + 64 * i + at), sub), all_bytes(1));
            weights[i] = or_bytes(and_bytes(shift_down(low, 2 * (sub % 4)), all_bytes(3)), shift_up(third, 2));
        }
    }
};

// Scales and minima of four bits for sub-blocks of 16, in one byte.
struct FourBitScales {
    alignas(64) uint8_t scales[256];
    alignas(64) uint8_t least[256];

    // The low halves hold scales, sub-block by sub-block, and the high ones minima, in pairs of sub-blocks.
    void unpack(const uint8_t * packed) {
        const Bytes low_four = all_bytes(0x0f);
        for (size_t i = 0; i < 256; i += sizeof(Bytes)) {
            const Bytes bytes = load_bytes(packed + i);
            store_bytes(scales + i, and_bytes(bytes, low_four));
            store_bytes(least + i, and_bytes(shift_down(bytes, 4), low_four));
        }
    }

    Ints at(int sub, int part) const { return ints_of_unsigned(scales + 16 * sub + SIMD_WIDTH * part); }
    Ints minima(int pair, int part) const { return pairs_of_unsigned(least + 32 * pair + 2 * SIMD_WIDTH * part); }
};

struct Q2_K {
    using Source = block_q2_K;
    using Scales = FourBitScales;
    static constexpr int VALUES = 256, BITS = 2, OFFSET = 0, SUMS = 8, SCALES_OF_32 = 2, TOGETHER = 4;
    static constexpr bool HAS_MINIMA = true;
    struct Panel {
        ggml_half d[PANEL_ROWS], dmin[PANEL_ROWS];
        uint8_t scales[16 * PANEL_ROWS];
        uint8_t qs[16 * 64];
    };

    static void pack(const Source * const (&blocks)[PANEL_ROWS], Panel & panel) {
        uint8_t low[16 * PANEL_ROWS], high[16 * PANEL_ROWS];
        for (int row = 0; row < PANEL_ROWS; row++) {
            panel.d[row] = blocks[row]->data.data.d;
            panel.dmin[row] = blocks[row]->data.data.dmin;
            for (int sub = 0; sub < 16; sub++) {
                low[16 * sub + row] = blocks[row]->scales[sub] & 15;
                high[32 * (sub / 2) + 2 * row + sub % 2] = blocks[row]->scales[sub] >> 4;
            }
        }
        for (int i = 0; i < 16 * PANEL_ROWS; i++) {
            panel.scales[i] = static_cast<uint8_t>(low[i] | high[i] << 4);
        }
        pack_words(blocks, 16, panel.qs, [](const Source & block) { return block.qs; });
    }

    static void unpack_scales(const Panel & panel, Scales & scales) { scales.unpack(panel.scales); }
    static void unpack(const Panel & panel, int first, int number, int part, Bytes (&weights)[8]) {
        for (int i = 0; i < 8; i++) {
            const Bytes bytes = load_bytes(panel.qs + 512 * (first / 4) + 64 * i + 4 * SIMD_WIDTH * part);
            weights[i] = and_bytes(shift_down(bytes, 2 * number), all_bytes(3));
        }
    }
};

struct IQ4_XS {
    using Source = block_iq4_xs;
    using Scales = ByteScales<8>;
    static constexpr int VALUES = 256, BITS = 8, OFFSET = TOO_HIGH, SUMS = 8, SCALES_OF_32 = 1, TOGETHER = 1;
    static constexpr bool HAS_MINIMA = false;
    // Scales have six bits in the file, and a byte here.
    struct Panel {
        ggml_half d[PANEL_ROWS];
        int8_t scales[8 * PANEL_ROWS];
        uint8_t qs[32 * 64];
    };

    static void pack(const Source * const (&blocks)[PANEL_ROWS], Panel & panel) {
        for (int row = 0; row < PANEL_ROWS; row++) {
            const Source & block = *blocks[row];
            panel.d[row] = block.d;
            for (int sub = 0; sub < 8; sub++) {
                const int low = block.scales_l[sub / 2] >> 4 * (sub % 2) & 15, high = block.scales_h >> 2 * sub & 3;
                panel.scales[16 * sub + row] = static_cast<int8_t>((low | high << 4) - 32);
            }
        }
        pack_words(blocks, 32, panel.qs, [](const Source & block) { return block.qs; });
    }

    static void unpack_scales(const Panel & panel, Scales & scales) { scales.scales = panel.scales; }
    static void unpack(const Panel & panel, int sub, int, int part, Bytes (&weights)[8]) {
        unpack_nibbles(panel.qs + 256 * sub, part, weights);
        const Bytes values = table_of(IQ4_NL::TABLE);
        for (Bytes & weight : weights) {
            weight = look_up(values, weight);
        }
    }
};

}  // namespace few_rows

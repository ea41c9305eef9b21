// A weight matrix in panels, as a tensor of ggml's: how it is laid out, and its products with all threads of a pool.

#pragma once

#include "panel_experts.h"
#include "products.h"

#include <cmath>
#include <vector>

namespace few_rows {

// Prompts are multiplied in tiles: this many rows by weights that the nearest caches hold meanwhile.
constexpr int64_t TILE_GROUPS = 8;
constexpr int64_t TILE_BYTES = 128 * 1024;

template <typename Type>
class PanelMatrix final : public AnyPanelMatrix {
    using Panel = typename Type::Panel;
    using Source = typename Type::Source;

public:
    size_t bytes(const ggml_tensor * weights) const override {
        return panels_of(weights) * blocks_of<Type>(weights) * sizeof(Panel) * weights->ne[2];
    }

    void pack(const ggml_tensor * weights, const void * data) const override {
        static const Source nothing{};
        const auto * from = static_cast<const Source *>(data);
        auto * to = static_cast<Panel *>(weights->data);
        const int64_t rows = weights->ne[1], row_blocks = blocks_of<Type>(weights);
        for (int64_t matrix = 0; matrix < weights->ne[2]; matrix++, from += rows * row_blocks) {
            for (int64_t panel = 0; panel < panels_of(weights); panel++) {
                for (int64_t b = 0; b < row_blocks; b++) {
                    const Source * side_by_side[PANEL_ROWS];
                    for (int64_t i = 0; i < PANEL_ROWS; i++) {
                        const int64_t row = panel * PANEL_ROWS + i;
                        side_by_side[i] = row < rows ? from + row * row_blocks + b : &nothing;
                    }
                    Type::pack(side_by_side, *to++);
                }
            }
        }
    }

    bool work_size(int, const ggml_tensor * op, size_t & size) override {
        size = op->op == GGML_OP_MUL_MAT_ID ? ExpertProduct<Type>::work_bytes(op)
                                            : quantized_bytes(op->src[0], ggml_nrows(op->src[1]));
        return true;
    }

    bool compute_forward(ggml_compute_params * params, ggml_tensor * op) override {
        if (op->op == GGML_OP_MUL_MAT_ID) {
            ExpertProduct<Type>::multiply(params, op);
        } else {
            Products one;
            one.start(op->src[1]);
            one.add(op, this);
            one.run(params);
        }
        return true;
    }

    int64_t format() const override {
        if constexpr (IS_FLOAT<Type>) {
            return -Type::STEPS;
        } else {
            return quantized_format();
        }
    }

    size_t quantized_bytes(const ggml_tensor * weights, int64_t rows) const override {
        return rows * blocks_of<Type>(weights) * activation_bytes<Type>();
    }

    void quantize(const FloatRows & from, const Groups & groups, char * to, int64_t first, int64_t step) const override {
        const int64_t row_blocks = from.size / Type::VALUES;
        for (int64_t i = first; i < groups.rows * row_blocks; i += step) {
            const int64_t row = i / row_blocks, block = i % row_blocks, group = groups.of(row), start = groups.first(group);
            quantize_block<Type>(
                from.at(row) + block * Type::VALUES, to + start * row_blocks * activation_bytes<Type>(), block,
                groups.first(group + 1) - start, row - start);
        }
    }

    void multiply(ggml_tensor * op, const Groups & groups, const char * quantized, int64_t from, int64_t to) const override {
        by_tiles(op, groups, quantized, from, to, [](int64_t i) { return i; });
    }

    // Only panels with an eight of the list; logits of other eights have no chance.
    void multiply_listed(
        const ggml_compute_params * params, ggml_tensor * op, const Groups & groups, const char * quantized,
        const Shortlist & list) const override {
        static thread_local std::vector<int64_t> listed;
        listed.clear();
        for (int64_t i = 0; i < list.count; i++) {
            const int64_t panel = list.eights[i] / 2;
            if (listed.empty() || listed.back() != panel) {
                listed.push_back(panel);
            }
        }
        const auto wanted = static_cast<int64_t>(listed.size()), end = panels_of(op->src[0]);
        share(params, wanted, [&](int64_t from, int64_t to) {
            by_tiles(op, groups, quantized, from, to, [&](int64_t i) { return listed[i]; });
            for (int64_t i = from; i < to; i++) {
                rule_out(op, i == 0 ? 0 : 2 * (listed[i - 1] + 1), 2 * listed[i]);
                for (int64_t eight = 2 * listed[i]; eight < 2 * listed[i] + 2; eight++) {
                    if (!std::binary_search(list.eights, list.eights + list.count, static_cast<int32_t>(eight))) {
                        rule_out(op, eight, eight + 1);
                    }
                }
            }
            if (to == wanted) {
                rule_out(op, 2 * (listed.back() + 1), 2 * end);
            }
        });
    }

private:
    static int64_t quantized_format() {
        int64_t number = Type::VALUES * 1024 + Type::SUMS * 32 + Type::OFFSET;
        if constexpr (Type::VALUES != QUANTIZED) {
            number = number * 16 + Type::SCALES_OF_32;
        }
        return number * 2 + Type::HAS_MINIMA;
    }

    // Multiplies the panels which(from)..which(to - 1) with all rows, in tiles.
    template <typename Which>
    static void by_tiles(
        ggml_tensor * op, const Groups & groups, const char * quantized, int64_t from, int64_t to, const Which & which) {
        const ggml_tensor * weights = op->src[0];
        const auto * all = static_cast<const Panel *>(weights->data);
        const int64_t row_blocks = blocks_of<Type>(weights), stride = op->nb[1] / sizeof(float);
        const int64_t at_once = std::max<int64_t>(1, TILE_BYTES / (row_blocks * static_cast<int64_t>(sizeof(Panel))));
        for (int64_t start = from; start < to; start += at_once) {
            const int64_t end = std::min(start + at_once, to);
            for (int64_t tile = 0; tile < groups.count; tile += TILE_GROUPS) {
                const int64_t tile_end = std::min(tile + TILE_GROUPS, groups.count);
                for (int64_t i = start; i < end; i++) {
                    const int64_t panel = which(i), count = std::min<int64_t>(PANEL_ROWS, weights->ne[1] - panel * PANEL_ROWS);
                    for (int64_t group = tile; group < tile_end; group++) {
                        const int64_t row = groups.first(group);
                        kernel_for<Type>(groups.first(group + 1) - row)(
                            all + panel * row_blocks, quantized + row * row_blocks * activation_bytes<Type>(), row_blocks,
                            static_cast<float *>(op->data) + row * stride + panel * PANEL_ROWS, stride, count);
                    }
                }
            }
        }
    }

    // Gives the logits of the eights from..to no chance.
    static void rule_out(ggml_tensor * op, int64_t from, int64_t to) {
        const int64_t first = 8 * from, last = std::min(8 * to, op->ne[0]);
        for (int64_t row = 0; row < ggml_nrows(op) && first < last; row++) {
            float * out = reinterpret_cast<float *>(static_cast<char *>(op->data) + row * op->nb[1]);
            std::fill(out + first, out + last, -INFINITY);
        }
    }
};

}  // namespace few_rows

// A weight matrix in panels, as a tensor of ggml's: how it is laid out, and its products with all threads of a pool.

#pragma once

#include "panel_experts.h"
#include "traits.h"

#include <cmath>
#include <vector>

namespace few_rows {

// Prompts are multiplied in tiles: this many rows by weights that the nearest caches hold meanwhile.
constexpr int64_t TILE_GROUPS = 8;
constexpr int64_t TILE_BYTES = 128 * 1024;
// Below both, each thread quantizes all rows for itself: that takes less time than waiting for the others.
constexpr int64_t FEW_VALUES = 8192, FEW_BYTES = 2 * 1024 * 1024;

class AnyPanelMatrix : public ggml::cpu::tensor_traits {
public:
    virtual size_t bytes(const ggml_tensor * weights) const = 0;
    virtual void pack(const ggml_tensor * weights, const void * data) const = 0;
};

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
        size = op->op == GGML_OP_MUL_MAT_ID
                   ? ExpertProduct<Type>::work_bytes(op)
                   : ggml_nrows(op->src[1]) * blocks_of<Type>(op->src[0]) * activation_bytes<Type>();
        return true;
    }

    bool compute_forward(ggml_compute_params * params, ggml_tensor * op) override {
        if (op->op == GGML_OP_MUL_MAT_ID) {
            ExpertProduct<Type>::multiply(params, op);
        } else {
            multiply(params, op);
        }
        return true;
    }

private:
    static const float * row_of(const ggml_tensor * rows, int64_t i) {
        const int64_t i1 = i % rows->ne[1], i2 = i / rows->ne[1] % rows->ne[2], i3 = i / rows->ne[1] / rows->ne[2];
        const auto * data = static_cast<const char *>(rows->data);
        return reinterpret_cast<const float *>(data + i1 * rows->nb[1] + i2 * rows->nb[2] + i3 * rows->nb[3]);
    }

    // Quantizes those blocks of all rows whose number is `first` and every `step` from there.
    static void quantize(const ggml_tensor * op, const Groups & groups, char * to, int64_t first, int64_t step) {
        const int64_t row_blocks = blocks_of<Type>(op->src[0]);
        for (int64_t i = first; i < groups.rows * row_blocks; i += step) {
            const int64_t row = i / row_blocks, block = i % row_blocks, group = groups.of(row), start = groups.first(group);
            char * at = to + start * row_blocks * activation_bytes<Type>();
            quantize_block<Type>(
                row_of(op->src[1], row) + block * Type::VALUES, at, block, groups.first(group + 1) - start, row - start);
        }
    }

    static void multiply(const ggml_compute_params * params, ggml_tensor * op) {
        const ggml_tensor * weights = op->src[0];
        const Groups groups(ggml_nrows(op->src[1]));
        const bool is_small = groups.rows * weights->ne[0] <= FEW_VALUES && !makes_logits(op) &&
                              panels_of(weights) * blocks_of<Type>(weights) * static_cast<int64_t>(sizeof(Panel)) <= FEW_BYTES;
        if (is_small) {
            static thread_local std::vector<char> own;
            own.resize(groups.rows * blocks_of<Type>(weights) * activation_bytes<Type>());
            quantize(op, groups, own.data(), 0, 1);
            const int64_t all = panels_of(weights);
            by_tiles(op, groups, own.data(), all * params->ith / params->nth, all * (params->ith + 1) / params->nth,
                     [](int64_t i) { return i; });
            return;
        }
        auto * quantized = static_cast<char *>(params->wdata);
        quantize(op, groups, quantized, params->ith, params->nth);
        meet(params);
        const Shortlist list = list_for(params, op);
        if (list.eights != nullptr) {
            multiply_listed(params, op, groups, quantized, list);
            return;
        }
        share(params, panels_of(weights), [&](int64_t from, int64_t to) {
            by_tiles(op, groups, quantized, from, to, [](int64_t i) { return i; });
        });
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

    // Only panels with an eight of the list; logits of other eights have no chance.
    static void multiply_listed(
        const ggml_compute_params * params, ggml_tensor * op, const Groups & groups, const char * quantized,
        const Shortlist & list) {
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

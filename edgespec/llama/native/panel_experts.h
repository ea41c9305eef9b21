// Products with the matrices of experts (mul_mat_id): each row is multiplied with those matrices that its router chose.
//
// The rows of one expert are a group like those of a batch, so that experts who are chosen by several rows are read once.

#pragma once

#include "panel_kernel.h"
#include "work.h"

#include <algorithm>
#include <vector>

namespace few_rows {

// A row's product with one of its experts: `slot` of those that row `row` has.
struct Choice {
    int32_t slot, row;
};

// All choices of a product, expert by expert, and with one expert in the order of rows.
class Choices {
public:
    // Each thread makes them for itself: that is less than to wait.
    void sort(const ggml_tensor * op) {
        const ggml_tensor * ids = op->src[2];
        const int64_t experts = op->src[0]->ne[2];
        starts_.assign(experts + 1, 0);
        each(ids, [&](int32_t expert, Choice) {
            GGML_ASSERT(expert >= 0 && expert < experts);
            starts_[expert + 1]++;
        });
        for (int64_t expert = 0; expert < experts; expert++) {
            starts_[expert + 1] += starts_[expert];
        }
        sorted_.resize(starts_.back());
        places_ = starts_;
        each(ids, [&](int32_t expert, Choice choice) { sorted_[places_[expert]++] = choice; });
        chosen_.clear();
        expert_of_.resize(sorted_.size());
        for (int64_t expert = 0; expert < experts; expert++) {
            std::fill(expert_of_.begin() + starts_[expert], expert_of_.begin() + starts_[expert + 1], expert);
            if (starts_[expert] < starts_[expert + 1]) {
                chosen_.push_back(expert);
            }
        }
    }

    int64_t count() const { return static_cast<int64_t>(sorted_.size()); }
    const Choice & operator[](int64_t i) const { return sorted_[i]; }
    const std::vector<int64_t> & chosen() const { return chosen_; }
    int64_t expert_of(int64_t i) const { return expert_of_[i]; }
    int64_t start(int64_t expert) const { return starts_[expert]; }
    int64_t rows_of(int64_t expert) const { return starts_[expert + 1] - starts_[expert]; }

private:
    template <typename Use>
    static void each(const ggml_tensor * ids, const Use & use) {
        for (int32_t row = 0; row < ids->ne[1]; row++) {
            for (int32_t slot = 0; slot < ids->ne[0]; slot++) {
                int32_t expert;
                std::memcpy(&expert, static_cast<const char *>(ids->data) + row * ids->nb[1] + slot * ids->nb[0], sizeof expert);
                use(expert, Choice{slot, row});
            }
        }
    }

    std::vector<Choice> sorted_;
    // By expert, from where its choices are in sorted_, and a last one; and the same while they are filled in.
    std::vector<int64_t> starts_, places_;
    // Experts that any row chose; and of each choice its expert.
    std::vector<int64_t> chosen_, expert_of_;
};

template <typename Type>
class ExpertProduct {
    using Panel = typename Type::Panel;

public:
    static size_t work_bytes(const ggml_tensor * op) {
        return ggml_nelements(op->src[2]) * blocks_of<Type>(op->src[0]) * activation_bytes<Type>();
    }

    static void multiply(const ggml_compute_params * params, ggml_tensor * op) {
        static thread_local Choices choices;
        choices.sort(op);
        auto * quantized = static_cast<char *>(params->wdata);
        quantize(op, choices, quantized, params->ith, params->nth);
        meet(params);
        const int64_t panels = panels_of(op->src[0]);
        share(params, panels * static_cast<int64_t>(choices.chosen().size()), [&](int64_t from, int64_t to) {
            while (from < to) {
                const int64_t expert = choices.chosen()[from / panels], first = from % panels;
                const int64_t count = std::min(panels - first, to - from);
                multiply_expert(op, choices, quantized, expert, first, first + count);
                from += count;
            }
        });
    }

private:
    static void quantize(const ggml_tensor * op, const Choices & choices, char * to, int64_t begin, int64_t step) {
        const ggml_tensor * rows = op->src[1];
        const int64_t row_blocks = blocks_of<Type>(op->src[0]);
        for (int64_t i = begin; i < choices.count() * row_blocks; i += step) {
            const int64_t number = i / row_blocks, block = i % row_blocks, expert = choices.expert_of(number);
            const int64_t start = choices.start(expert);
            const Groups groups(choices.rows_of(expert));
            const int64_t group = groups.of(number - start), first = groups.first(group);
            const Choice & choice = choices[number];
            // Where all experts multiply the same, there is one row for all slots.
            const auto * from = reinterpret_cast<const float *>(
                static_cast<const char *>(rows->data) + choice.slot % rows->ne[1] * rows->nb[1] + choice.row * rows->nb[2]);
            quantize_block<Type>(
                from + block * Type::VALUES, to + (start + first) * row_blocks * activation_bytes<Type>(), block,
                groups.first(group + 1) - first, number - start - first);
        }
    }

    static void multiply_expert(
        ggml_tensor * op, const Choices & choices, const char * quantized, int64_t expert, int64_t from, int64_t to) {
        const ggml_tensor * weights = op->src[0];
        const int64_t row_blocks = blocks_of<Type>(weights), start = choices.start(expert);
        const auto * all = static_cast<const Panel *>(weights->data) + expert * panels_of(weights) * row_blocks;
        const Groups groups(choices.rows_of(expert));
        alignas(64) float out[MOST_ROWS * PANEL_ROWS];
        for (int64_t panel = from; panel < to; panel++) {
            const int64_t count = std::min<int64_t>(PANEL_ROWS, weights->ne[1] - panel * PANEL_ROWS);
            for (int64_t group = 0; group < groups.count; group++) {
                const int64_t first = start + groups.first(group), n = start + groups.first(group + 1) - first;
                kernel_for<Type>(n)(
                    all + panel * row_blocks, quantized + first * row_blocks * activation_bytes<Type>(), row_blocks, out, PANEL_ROWS,
                    count);
                for (int64_t r = 0; r < n; r++) {
                    const Choice & choice = choices[first + r];
                    char * row = static_cast<char *>(op->data) + choice.slot * op->nb[1] + choice.row * op->nb[2];
                    std::memcpy(row + panel * PANEL_ROWS * sizeof(float), out + r * PANEL_ROWS, count * sizeof(float));
                }
            }
        }
    }
};

}  // namespace few_rows

// Products of the same rows with several matrices in panels at once: queries, keys and values, or gate and up. The rows are
// quantized once, threads meet once, and what is done with each number of the result alone follows in the same go.

#pragma once

#include "norm.h"
#include "panel_kernel.h"
#include "traits.h"
#include "vec.h"
#include "work.h"

#include <vector>

namespace few_rows {

// Below both, each thread quantizes all rows for itself: that takes less time than waiting for the others.
constexpr int64_t FEW_VALUES = 8192, FEW_BYTES = 2 * 1024 * 1024;

// The rows that are multiplied: of a tensor, or side by side.
struct FloatRows {
    const ggml_tensor * tensor;
    const float * own;
    int64_t size;

    const float * at(int64_t i) const { return own ? own + i * size : row_at(tensor, i); }
};

class AnyPanelMatrix : public ggml::cpu::tensor_traits {
public:
    virtual size_t bytes(const ggml_tensor * weights) const = 0;
    virtual void pack(const ggml_tensor * weights, const void * data) const = 0;
    // Rows that are quantized for one matrix serve all with the same number.
    virtual int64_t format() const = 0;
    virtual size_t quantized_bytes(const ggml_tensor * weights, int64_t rows) const = 0;
    // Quantizes those blocks of all rows whose number is `first` and every `step` from there.
    virtual void quantize(
        const FloatRows & from, const Groups & groups, char * to, int64_t first, int64_t step) const = 0;
    // Multiplies all rows with the panels from..to.
    virtual void multiply(ggml_tensor * op, const Groups & groups, const char * quantized, int64_t from, int64_t to) const = 0;
    // The same for a thread's share of the panels that a shortlist names.
    virtual void multiply_listed(
        const ggml_compute_params * params, ggml_tensor * op, const Groups & groups, const char * quantized,
        const Shortlist & list) const = 0;
};

class Products {
public:
    static constexpr int MOST = 4;

    // Of a tensor's rows, or of their norms, which each thread makes for itself.
    void start(const ggml_tensor * rows, Norm norm = {}) {
        *this = Products();
        rows_ = rows;
        norm_ = norm;
    }

    int count() const { return count_; }
    const ggml_tensor * operator[](int i) const { return all_[i].op; }

    void add(ggml_tensor * op, const AnyPanelMatrix * matrix) {
        const int64_t rows = ggml_nrows(rows_);
        size_t place = quantized_bytes_;
        for (int i = 0; i < count_; i++) {
            if (all_[i].matrix->format() == matrix->format()) {
                place = all_[i].place;
            }
        }
        if (place == quantized_bytes_) {
            quantized_bytes_ += (matrix->quantized_bytes(op->src[0], rows) + 63) / 64 * 64;
        }
        weight_bytes_ += matrix->bytes(op->src[0]);
        all_[count_] = {op, matrix, place, count_, {}, 0};
        count_++;
    }

    // Whether threads work without meeting.
    bool is_few() const {
        return ggml_nelements(rows_) <= FEW_VALUES && weight_bytes_ <= FEW_BYTES && !(count_ == 1 && makes_logits(all_[0].op));
    }

    size_t quantized_bytes() const { return quantized_bytes_; }

    // What follows for each number alone: a sum with another tensor, or a gated unit of two products, which are then shared
    // out together. Of product `i`, for a gated unit the latter.
    bool can_follow(int i) const { return all_[i].followers < MOST_FOLLOWERS; }
    // Whether product `i` can be shared out together with the one before.
    bool can_join(int i) const {
        return i > 0 && can_follow(i) && all_[i].first == i && all_[i - 1].first == i - 1 && !makes_logits(all_[i].op) &&
               panels_of(all_[i].op->src[0]) == panels_of(all_[i - 1].op->src[0]);
    }
    void follow(int i, ggml_tensor * op) {
        all_[i].follower[all_[i].followers++] = op;
        if (op->op == GGML_OP_GLU) {
            all_[i].first = i - 1;
        }
    }

    // Asks for the weights that a thread will need first: while it waits for others, memory has nothing else to do.
    void ask_for_weights(int thread, int threads) const {
        int64_t before = 0;
        const int64_t from = units() * thread / threads;
        for (int i = 0; i < count_; i++) {
            const int64_t panels = is_joined(i) ? 0 : panels_of(all_[i].op->src[0]);
            if (from < before + panels) {
                const ggml_tensor * weights = all_[all_[i].first].op->src[0];
                const auto * at = static_cast<const char *>(weights->data) +
                                  all_[all_[i].first].matrix->bytes(weights) / panels * (from - before);
                for (size_t byte = 0; byte < ASKED_BYTES; byte += 64) {
                    prefetch(at + byte);
                }
                return;
            }
            before += panels;
        }
    }

    void run(const ggml_compute_params * params) const {
        static thread_local std::vector<char> own;
        static thread_local std::vector<float> normed;
        const Groups groups(ggml_nrows(rows_));
        FloatRows rows{rows_, nullptr, rows_->ne[0]};
        if (norm_.norm != nullptr) {
            normed.resize(groups.rows * rows.size);
            for (int64_t i = 0; i < groups.rows; i++) {
                norm_.apply(row_at(norm_.rows(), i), &normed[i * rows.size]);
            }
            rows.own = normed.data();
        }
        if (is_few()) {
            own.resize(quantized_bytes_);
            quantize(rows, groups, own.data(), 0, 1);
            const int64_t all = units();
            multiply(groups, own.data(), all * params->ith / params->nth, all * (params->ith + 1) / params->nth);
            return;
        }
        auto * quantized = static_cast<char *>(params->wdata);
        quantize(rows, groups, quantized, params->ith, params->nth);
        meet(params);
        if (count_ == 1) {
            const Shortlist list = list_for(params, all_[0].op);
            if (list.eights != nullptr) {
                all_[0].matrix->multiply_listed(params, all_[0].op, groups, quantized, list);
                return;
            }
        }
        share(params, units(), [&](int64_t from, int64_t to) { multiply(groups, quantized, from, to); });
    }

private:
    static constexpr int MOST_FOLLOWERS = 3;
    // What the kernel does not ask for itself in time, because it asks for what comes next (panels.h).
    static constexpr size_t ASKED_BYTES = AHEAD_OF_FEW_BYTES;

    struct Product {
        ggml_tensor * op;
        const AnyPanelMatrix * matrix;
        size_t place;  // Of its quantized rows.
        int first;     // Of the products that are shared out together, of which this is the last.
        ggml_tensor * follower[MOST_FOLLOWERS];
        int followers;
    };

    // Whether a product is shared out together with the one after it.
    bool is_joined(int i) const { return i + 1 < count_ && all_[i + 1].first == i; }

    // Panels, those of joined products once.
    int64_t units() const {
        int64_t all = 0;
        for (int i = 0; i < count_; i++) {
            all += is_joined(i) ? 0 : panels_of(all_[i].op->src[0]);
        }
        return all;
    }

    void quantize(const FloatRows & rows, const Groups & groups, char * to, int64_t first, int64_t step) const {
        size_t done = 0;
        for (int i = 0; i < count_; i++) {
            if (i == 0 || all_[i].place > done) {
                done = all_[i].place;
                all_[i].matrix->quantize(rows, groups, to + done, first, step);
            }
        }
    }

    void multiply(const Groups & groups, const char * quantized, int64_t from, int64_t to) const {
        int64_t before = 0;
        for (int i = 0; i < count_ && before < to; i++) {
            if (is_joined(i)) {
                continue;
            }
            const int64_t panels = panels_of(all_[i].op->src[0]);
            const int64_t first = std::max<int64_t>(from - before, 0), last = std::min(to - before, panels);
            if (first < last) {
                for (int joined = all_[i].first; joined <= i; joined++) {
                    all_[joined].matrix->multiply(all_[joined].op, groups, quantized + all_[joined].place, first, last);
                    follow(all_[joined], groups.rows, first * PANEL_ROWS, last * PANEL_ROWS);
                }
            }
            before += panels;
        }
    }

    // Columns from..to of what follows a product.
    static void follow(const Product & product, int64_t rows, int64_t from, int64_t to) {
        to = std::min(to, product.op->ne[0]);
        for (int f = 0; f < product.followers; f++) {
            ggml_tensor * op = product.follower[f];
            const ggml_tensor *left = op->src[0], *right = op->src[1];
            for (int64_t row = 0; row < rows; row++) {
                const float * a = row_at(left, left->ne[1] == 1 ? 0 : row) + from;
                const float * b = row_at(right, right->ne[1] == 1 ? 0 : row) + from;
                float * out = row_at(op, row) + from;
                if (op->op == GGML_OP_ADD) {
                    for (int64_t i = 0; i < to - from; i++) {
                        out[i] = a[i] + b[i];
                    }
                } else {
                    ggml_vec_swiglu_f32(static_cast<int>(to - from), out, a, b);
                }
            }
        }
    }

    const ggml_tensor * rows_ = nullptr;
    Norm norm_;
    Product all_[MOST];
    int count_ = 0;
    size_t quantized_bytes_ = 0, weight_bytes_ = 0;
};

}  // namespace few_rows

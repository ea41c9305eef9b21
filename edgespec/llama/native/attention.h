// Attention of a few rows over a cache in half precision (flash attention: https://arxiv.org/abs/2205.14135).
//
// ggml converts every key and value anew for each row and each head. Here the rows and heads that share a KV head share the
// conversion. A query's sums are made in one order whatever else is in the batch, so that a row has the same result alone.

#pragma once

#include "simd.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace few_rows {

// Places of the cache that are handled at once.
constexpr int PLACES = 16;

// One product after the other, by one thread, which keeps its buffers between them.
// A KV head's queries are the rows by the heads that share it, the heads of a row side by side.
class Attention {
public:
    static bool can(const ggml_tensor * op) {
        const ggml_tensor *q = op->src[0], *k = op->src[1], *v = op->src[2], *mask = op->src[3];
        float max_bias, softcap;
        std::memcpy(&max_bias, op->op_params + 1, sizeof max_bias);
        std::memcpy(&softcap, op->op_params + 2, sizeof softcap);
        return max_bias == 0.0f && softcap == 0.0f && op->src[4] == nullptr && q->type == GGML_TYPE_F32 &&
               k->type == GGML_TYPE_F16 && v->type == GGML_TYPE_F16 && q->ne[0] == k->ne[0] && k->ne[0] == v->ne[0] &&
               k->ne[0] % (4 * SIMD_WIDTH) == 0 && k->ne[2] == v->ne[2] && q->ne[2] % k->ne[2] == 0 && q->ne[3] == 1 &&
               k->ne[3] == 1 && v->ne[3] == 1 && q->nb[0] == sizeof(float) && op->nb[0] == sizeof(float) &&
               k->nb[0] == sizeof(ggml_fp16_t) && v->nb[0] == sizeof(ggml_fp16_t) &&
               (mask == nullptr || (mask->type == GGML_TYPE_F16 && mask->ne[2] == 1 && mask->ne[3] == 1));
    }

    // Does part `part` of 0..`parts` of a product; queries are shared out evenly.
    void attend_part(const ggml_tensor * op, int part, int parts) {
        start(op);
        const int64_t by_head = heads_ * q_->ne[1], all = by_head * k_->ne[2];
        const int64_t to = all * (part + 1) / parts;
        for (int64_t from = all * part / parts; from < to;) {
            const int64_t kv_head = from / by_head, first = from % by_head;
            const int64_t count = std::min(by_head - first, to - from);
            attend(kv_head, first, count);
            from += count;
        }
    }

private:
    void start(const ggml_tensor * op) {
        op_ = op;
        q_ = op->src[0];
        k_ = op->src[1];
        v_ = op->src[2];
        mask_ = op->src[3];
        size_ = k_->ne[0];
        heads_ = q_->ne[2] / k_->ne[2];
        std::memcpy(&scale_, op->op_params, sizeof scale_);
    }

    void attend(int64_t kv_head, int64_t first, int64_t count) {
        begin(kv_head, first, count);
        for (int64_t place = 0; place < k_->ne[1]; place += PLACES) {
            const int places = static_cast<int>(std::min<int64_t>(PLACES, k_->ne[1] - place));
            read_masks(first, count, place, places);
            if (seen_.empty()) {
                continue;
            }
            convert(k_, kv_head, place, places, keys_.data());
            convert(v_, kv_head, place, places, values_.data());
            size_t i = 0;
            for (; i + 2 <= seen_.size(); i += 2) {
                add_places<2>({seen_[i], seen_[i + 1]});
            }
            if (i < seen_.size()) {
                add_places<1>({seen_[i]});
            }
        }
        finish(kv_head, first, count);
    }

    template <int N>
    struct Group {
        int64_t at[N];
    };

    // Query i of 0..count is head (first + i) % heads_ of the KV head, in row (first + i) / heads_: with two heads to a KV head,
    // first = 1 and count = 2 are head 1 of row 0 and head 0 of row 1.
    void begin(int64_t kv_head, int64_t first, int64_t count) {
        queries_.resize(count * size_);
        scores_.resize(count * PLACES);
        keys_.resize(PLACES * size_);
        values_.resize(PLACES * size_);
        sums_.assign(count * size_, 0.0f);
        weights_.assign(count, 0.0f);
        largest_.assign(count, -INFINITY);
        for (int64_t i = 0; i < count; i++) {
            const int64_t row = (first + i) / heads_, head = kv_head * heads_ + (first + i) % heads_;
            const char * from = static_cast<const char *>(q_->data) + row * q_->nb[1] + head * q_->nb[2];
            for (int64_t d = 0; d < size_; d += SIMD_WIDTH) {
                store(&queries_[i * size_ + d], multiply(load(reinterpret_cast<const float *>(from) + d), broadcast(scale_)));
            }
        }
    }

    // Fills scores_ with the mask, and seen_ with the queries that see any of the places. A row's heads have the same mask.
    void read_masks(int64_t first, int64_t count, int64_t place, int places) {
        seen_.clear();
        for (int64_t i = 0; i < count;) {
            const int64_t row = (first + i) / heads_, end = std::min(count, (row + 1) * heads_ - first);
            if (!read_mask(row, place, places, row_mask_)) {
                i = end;
                continue;
            }
            for (; i < end; i++) {
                std::memcpy(&scores_[i * PLACES], row_mask_, sizeof row_mask_);
                seen_.push_back(i);
            }
        }
    }

    // Whether a row sees any of the places.
    bool read_mask(int64_t row, int64_t place, int places, float * out) const {
        if (!mask_) {
            std::fill_n(out, places, 0.0f);
            std::fill_n(out + places, PLACES - places, -INFINITY);
            return true;
        }
        const auto * from = reinterpret_cast<const ggml_fp16_t *>(
            static_cast<const char *>(mask_->data) + row * mask_->nb[1]) + place;
        ggml_fp16_t padded[PLACES];
        if (places < PLACES) {
            std::fill_n(padded, PLACES, GGML_CPU_FP32_TO_FP16(-INFINITY));
            from = static_cast<const ggml_fp16_t *>(std::memcpy(padded, from, places * sizeof *from));
        }
        FloatVector most = broadcast(-INFINITY);
        for (int j = 0; j < PLACES; j += SIMD_WIDTH) {
            const FloatVector mask = load_half(from + j);
            store(out + j, mask);
            most = larger(most, mask);
        }
        return largest(most) != -INFINITY;
    }

    void convert(const ggml_tensor * cache, int64_t kv_head, int64_t place, int places, float * out) const {
        for (int j = 0; j < places; j++) {
            const char * row = static_cast<const char *>(cache->data) + (place + j) * cache->nb[1] + kv_head * cache->nb[2];
            for (int64_t d = 0; d < size_; d += SIMD_WIDTH) {
                store(out + j * size_ + d, load_half(reinterpret_cast<const ggml_fp16_t *>(row) + d));
            }
        }
        std::fill(out + places * size_, out + PLACES * size_, 0.0f);
    }

    template <int N>
    void add_places(const Group<N> & group) {
        multiply_keys(group);
        float shrunk[N];
        for (int n = 0; n < N; n++) {
            shrunk[n] = weigh(group.at[n]);
        }
        for (int64_t d = 0; d < size_; d += 4 * SIMD_WIDTH) {
            add_values(group, shrunk, d);
        }
    }

    // scores_ holds the mask and gets the products with the keys on top.
    template <int N>
    void multiply_keys(const Group<N> & group) {
        for (int j = 0; j < PLACES; j += 4) {
            FloatVector dots[N][4];
            for (int n = 0; n < N; n++) {
                for (int c = 0; c < 4; c++) {
                    dots[n][c] = broadcast(0.0f);
                }
            }
            const float * keys = keys_.data() + j * size_;
            for (int64_t d = 0; d < size_; d += SIMD_WIDTH) {
                for (int n = 0; n < N; n++) {
                    const FloatVector query = load(&queries_[group.at[n] * size_ + d]);
                    for (int c = 0; c < 4; c++) {
                        dots[n][c] = multiply_add(query, load(keys + c * size_ + d), dots[n][c]);
                    }
                }
            }
            for (int n = 0; n < N; n++) {
                float * score = &scores_[group.at[n] * PLACES + j];
                const __m128 dot = add_up(dots[n][0], dots[n][1], dots[n][2], dots[n][3]);
                _mm_storeu_ps(score, _mm_add_ps(_mm_loadu_ps(score), dot));
            }
        }
    }

    // Turns scores into weights; returns what the sums so far shrink by.
    float weigh(int64_t query) {
        float * score = &scores_[query * PLACES];
        FloatVector high = load(score);
        for (int j = SIMD_WIDTH; j < PLACES; j += SIMD_WIDTH) {
            high = larger(high, load(score + j));
        }
        const float before = largest_[query], most = std::max(before, largest(high));
        FloatVector total = broadcast(0.0f);
        for (int j = 0; j < PLACES; j += SIMD_WIDTH) {
            const FloatVector weight = ggml_v_expf(add(load(score + j), broadcast(-most)));
            store(score + j, weight);
            total = add(total, weight);
        }
        const float shrunk = before == most ? 1.0f : std::exp(before - most);
        largest_[query] = most;
        weights_[query] = weights_[query] * shrunk + add_up(total);
        return shrunk;
    }

    template <int N>
    void add_values(const Group<N> & group, const float (&shrunk)[N], int64_t d) {
        FloatVector sums[N][4];
        for (int n = 0; n < N; n++) {
            for (int c = 0; c < 4; c++) {
                sums[n][c] = multiply(load(&sums_[group.at[n] * size_ + d + c * SIMD_WIDTH]), broadcast(shrunk[n]));
            }
        }
        for (int j = 0; j < PLACES; j++) {
            const float * values = values_.data() + j * size_ + d;
            for (int n = 0; n < N; n++) {
                const FloatVector weight = broadcast(scores_[group.at[n] * PLACES + j]);
                for (int c = 0; c < 4; c++) {
                    sums[n][c] = multiply_add(weight, load(values + c * SIMD_WIDTH), sums[n][c]);
                }
            }
        }
        for (int n = 0; n < N; n++) {
            for (int c = 0; c < 4; c++) {
                store(&sums_[group.at[n] * size_ + d + c * SIMD_WIDTH], sums[n][c]);
            }
        }
    }

    void finish(int64_t kv_head, int64_t first, int64_t count) const {
        for (int64_t i = 0; i < count; i++) {
            const int64_t row = (first + i) / heads_, head = kv_head * heads_ + (first + i) % heads_;
            char * to = static_cast<char *>(op_->data) + row * op_->nb[2] + head * op_->nb[1];
            const FloatVector share = broadcast(weights_[i] == 0.0f ? 0.0f : 1.0f / weights_[i]);
            for (int64_t d = 0; d < size_; d += SIMD_WIDTH) {
                store(reinterpret_cast<float *>(to) + d, multiply(load(&sums_[i * size_ + d]), share));
            }
        }
    }

    // ggml's shapes, innermost first: q [head_size, rows, heads], k and v [head_size, places, KV heads], mask [places, rows],
    // op [head_size, heads, rows].
    const ggml_tensor *op_ = nullptr, *q_ = nullptr, *k_ = nullptr, *v_ = nullptr, *mask_ = nullptr;
    // Floats of a head, and heads that share a KV head.
    int64_t size_ = 0, heads_ = 0;
    // Of the scores: 1 / sqrt(head_size) in most models.
    float scale_ = 1.0f;
    float row_mask_[PLACES];
    // Numbers of the queries that see any of the places at hand, in 0..count: at most `count` of them.
    std::vector<int64_t> seen_;
    // Row-major, `count` queries of one KV head (see begin):
    std::vector<float> queries_;        // [count, size_], scaled
    std::vector<float> scores_;         // [count, PLACES]: mask, then scores, then weights of the places at hand
    std::vector<float> keys_, values_;  // [PLACES, size_], zeros behind the last place
    std::vector<float> sums_;           // [count, size_]: weighted sums of the values so far
    std::vector<float> weights_;        // [count]: sums of the weights so far
    std::vector<float> largest_;        // [count]: the largest score so far, which the weights are relative to
};

}  // namespace few_rows

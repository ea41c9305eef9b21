// Attention over a cache in half precision or Q8_0 (flash attention: https://arxiv.org/abs/2205.14135).
//
// ggml converts every key and value anew for each row and each head. Here the rows and heads that share a KV head share the
// conversion, by groups whose sums stay in registers. A query's sums are made in one order whatever else is in the batch or in the
// cache, so that a row has the same result alone (visible_places.h).

#pragma once

#include "attention_sums.h"
#include "pass.h"
#include "visible_places.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace few_rows {

// Queries that go through the cache together: their sums stay in the nearest caches.
constexpr int64_t MOST_QUERIES = 48;

// One product after the other, by one thread, which keeps its buffers between them.
// A KV head's queries are the rows by the heads that share it, the heads of a row side by side; a stream's those of its KV heads.
class Attention : private AttentionSums {
public:
    static bool can(const ggml_tensor * op) {
        const ggml_tensor *q = op->src[0], *k = op->src[1], *v = op->src[2], *mask = op->src[3];
        float max_bias, softcap;
        std::memcpy(&max_bias, op->op_params + 1, sizeof max_bias);
        std::memcpy(&softcap, op->op_params + 2, sizeof softcap);
        return max_bias == 0.0f && softcap == 0.0f && op->src[4] == nullptr && q->type == GGML_TYPE_F32 && is_cache(k) &&
               is_cache(v) && q->ne[0] == k->ne[0] && k->ne[2] == v->ne[2] && q->ne[2] % k->ne[2] == 0 &&
               k->ne[3] == q->ne[3] && v->ne[3] == q->ne[3] && q->nb[0] == sizeof(float) && op->nb[0] == sizeof(float) &&
               (mask == nullptr || (mask->type == GGML_TYPE_F16 && mask->ne[2] == 1 &&
                                    (mask->ne[3] == 1 || mask->ne[3] == q->ne[3])));
    }

    // Starts with a product; returns the number of its queries, which can be attended to in any parts.
    int64_t start(const ggml_tensor * op) {
        op_ = op;
        q_ = op->src[0];
        k_ = op->src[1];
        v_ = op->src[2];
        mask_ = op->src[3];
        size_ = k_->ne[0];
        value_size_ = v_->ne[0];
        heads_ = q_->ne[2] / k_->ne[2];
        std::memcpy(&scale_, op->op_params, sizeof scale_);
        visible_ = &visible_places();
        return heads_ * q_->ne[1] * k_->ne[2] * q_->ne[3];
    }

    void attend_part(int64_t from, int64_t to) {
        const int64_t by_head = heads_ * q_->ne[1], by_stream = by_head * k_->ne[2];
        while (from < to) {
            stream_ = from / by_stream;
            const int64_t end = std::min({to, from + MOST_QUERIES, (stream_ + 1) * by_stream});
            attend(from % by_stream, end - from);
            from = end;
        }
    }

private:
    static bool is_cache(const ggml_tensor * cache) {
        return is_cache_type(cache->type) && cache->ne[0] % ggml_blck_size(cache->type) == 0 && cache->ne[0] % SIMD_WIDTH == 0 &&
               cache->nb[0] == ggml_type_size(cache->type);
    }

    // What the mask shows: of one pass read once for all layers, which have one mask or, with a sliding window in some, two.
    const VisiblePlaces & visible_places() {
        const int64_t number = pass ? pass->number : 0;
        for (const MaskRead & read : reads_) {
            if (number != 0 && read.pass == number && read.mask == mask_ && read.places == k_->ne[1]) {
                return read.visible;
            }
        }
        last_read_ = (last_read_ + 1) % MASKS;
        MaskRead & read = reads_[last_read_];
        read.visible.read(mask_, q_->ne[1], k_->ne[1]);
        read.pass = number;
        read.mask = mask_;
        read.places = k_->ne[1];
        return read.visible;
    }

    // Queries of one stream, those of all KV heads one after the other. Blocks of places come one after the other and heads within
    // them, because the heads of a place lie side by side.
    void attend(int64_t first, int64_t count) {
        begin(first, count);
        const int64_t rows = q_->ne[1], by_head = heads_ * rows;
        for (int64_t row = 0; row < rows;) {
            const RowGroup group = visible_->of(stream_, row);
            parts_.clear();
            for (int64_t from = 0; from < count;) {
                const int64_t kv_head = (first + from) / by_head, start = kv_head * by_head - first;
                const int64_t to = std::min(count, start + by_head);
                const int64_t begin = std::max(from, start + row * heads_), end = std::min(to, start + group.end * heads_);
                if (begin < end) {
                    parts_.push_back({kv_head, begin, end});
                }
                from = to;
            }
            attend_group(group, first);
            row = group.end;
        }
        finish(first, count);
    }

    // The queries of parts_, which are of one group of rows.
    void attend_group(const RowGroup & group, int64_t first) {
        bool is_seen = !parts_.empty();
        for (int64_t done = 0; done < group.count && is_seen; done += PLACES) {
            list_ = group.list + done;
            listed_ = group.count - done;
            places_ = static_cast<int>(std::min<int64_t>(PLACES, listed_));
            find_rows();
            is_seen = false;
            for (const Part & part : parts_) {
                read_masks(first, part.from, part.to);
                if (seen_.empty()) {
                    continue;
                }
                is_seen = true;  // else nor do they see any that follows
                keys_ = rows_of(k_, part.kv_head);
                values_ = rows_of(v_, part.kv_head);
                add_places(seen_);
            }
        }
    }

    // The first row of a KV head.
    const char * rows_of(const ggml_tensor * cache, int64_t kv_head) const {
        return static_cast<const char *>(cache->data) + kv_head * cache->nb[2] + stream_ * cache->nb[3];
    }

    // Where query `number` of a stream is: with two heads to a KV head and three rows, number 7 is the second head of KV head 1
    // in row 0.
    int64_t row_of(int64_t number) const { return number / heads_ % q_->ne[1]; }
    int64_t head_of(int64_t number) const { return number / (heads_ * q_->ne[1]) * heads_ + number % heads_; }

    // Of queries first..first + count.
    void begin(int64_t first, int64_t count) {
        queries_.resize(count * size_);
        scores_.resize(count * PLACES);
        sums_.assign(count * value_size_, 0.0f);
        weights_.assign(count * SIMD_WIDTH, 0.0f);
        shrunk_.resize(count);
        largest_.assign(count, -INFINITY);
        masks_.resize(count * PLACES);
        mask_of_.resize(count);
        for (int64_t i = 0; i < count; i++) {
            const int64_t row = row_of(first + i), head = head_of(first + i);
            const char * from =
                static_cast<const char *>(q_->data) + row * q_->nb[1] + head * q_->nb[2] + stream_ * q_->nb[3];
            for (int64_t d = 0; d < size_; d += SIMD_WIDTH) {
                store(&queries_[i * size_ + d], multiply(load(reinterpret_cast<const float *>(from) + d), broadcast(scale_)));
            }
        }
    }

    // Fills masks_ for each row of queries from..to, and seen_ with those that see any of the places. A row's heads have the same
    // mask.
    void read_masks(int64_t first, int64_t from, int64_t to) {
        seen_.clear();
        for (int64_t i = from; i < to;) {
            const int64_t end = std::min(to, ((first + i) / heads_ + 1) * heads_ - first);
            float * mask = &masks_[i * PLACES];
            const bool is_seen = read_mask(row_of(first + i), mask);
            for (; i < end; i++) {
                if (is_seen) {
                    mask_of_[i] = mask;
                    seen_.push_back(i);
                }
            }
        }
    }

    // Whether a row sees any of the places.
    bool read_mask(int64_t row, float * out) const {
        if (!mask_) {
            std::fill_n(out, places_, 0.0f);
            std::fill_n(out + places_, PLACES - places_, -INFINITY);
            return true;
        }
        const int64_t stream = mask_->ne[3] == 1 ? 0 : stream_;
        const auto * from = reinterpret_cast<const ggml_fp16_t *>(
            static_cast<const char *>(mask_->data) + row * mask_->nb[1] + stream * mask_->nb[3]);
        ggml_fp16_t gathered[PLACES];
        if (places_ == PLACES && list_[PLACES - 1] - list_[0] == PLACES - 1) {
            from += list_[0];
        } else {
            for (int j = 0; j < places_; j++) {
                gathered[j] = from[list_[j]];
            }
            std::fill_n(gathered + places_, PLACES - places_, GGML_CPU_FP32_TO_FP16(-INFINITY));
            from = gathered;
        }
        FloatVector most = broadcast(-INFINITY);
        for (int j = 0; j < PLACES; j += SIMD_WIDTH) {
            const FloatVector mask = load_half(from + j);
            store(out + j, mask);
            most = larger(most, mask);
        }
        return any_above(most, -INFINITY);
    }

    void finish(int64_t first, int64_t count) const {
        for (int64_t i = 0; i < count; i++) {
            const int64_t row = row_of(first + i), head = head_of(first + i);
            char * to = static_cast<char *>(op_->data) + row * op_->nb[2] + head * op_->nb[1] + stream_ * op_->nb[3];
            const float weight = add_up(load(&weights_[i * SIMD_WIDTH]));
            const FloatVector share = broadcast(weight == 0.0f ? 0.0f : 1.0f / weight);
            for (int64_t d = 0; d < value_size_; d += SIMD_WIDTH) {
                store(reinterpret_cast<float *>(to) + d, multiply(load(&sums_[i * value_size_ + d]), share));
            }
        }
    }

    const VisiblePlaces * visible_ = nullptr;
    static constexpr int MASKS = 2;
    struct MaskRead {
        int64_t pass = 0, places = 0;
        const ggml_tensor * mask = nullptr;
        VisiblePlaces visible;
    };
    MaskRead reads_[MASKS];
    int last_read_ = 0;
    // Queries of one KV head among those at hand.
    struct Part {
        int64_t kv_head, from, to;
    };
    std::vector<Part> parts_;
    // Numbers of the queries that see any of the places at hand, in 0..count: at most `count` of them.
    std::vector<int64_t> seen_;
};

}  // namespace few_rows

// Attention over a cache in half precision or Q8_0 (flash attention: https://arxiv.org/abs/2205.14135).
//
// ggml converts every key and value anew for each row and each head. Here the rows and heads that share a KV head share the
// conversion, by groups whose sums stay in registers. A query's sums are made in one order whatever else is in the batch or in the
// cache, so that a row has the same result alone (visible_places.h).

#pragma once

#include "cache_types.h"
#include "pass.h"
#include "visible_places.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace few_rows {

// Places of the cache that are handled at once.
constexpr int PLACES = 64;
// Of those, the ones that are asked for together.
constexpr int ASKED = 16;
// Queries that go through the cache together: their sums stay in the nearest caches.
constexpr int64_t MOST_QUERIES = 48;
// Of the queries, the ones whose sums are in registers at the same time.
constexpr int GROUP = REGISTERS == 32 ? 6 : 2;

// One product after the other, by one thread, which keeps its buffers between them.
// A KV head's queries are the rows by the heads that share it, the heads of a row side by side; a stream's those of its KV heads.
class Attention {
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
            is_seen = false;
            for (const Part & part : parts_) {
                kv_head_ = part.kv_head;
                read_masks(first, part.from, part.to);
                if (seen_.empty()) {
                    continue;
                }
                is_seen = true;  // else nor do they see any that follows
                const auto groups = (static_cast<int64_t>(seen_.size()) + GROUP - 1) / GROUP;
                for (int64_t i = 0; i < groups; i++) {
                    const int64_t begin = seen_.size() * i / groups, n = seen_.size() * (i + 1) / groups - begin;
                    is_first_group_ = i == 0;
                    add_group(seen_.data() + begin, n);
                }
            }
        }
    }

    // Asks for ASKED rows PLACES places behind those from `place` on: rows of one head lie apart, by all heads of a place, and the
    // processor does not read ahead of such jumps by itself. A few at a time, while others are computed with: were all of a block
    // asked for at once, nothing would be computed until memory has taken the last of these questions.
    void ask_behind(const ggml_tensor * cache, int64_t place) const {
        if (!is_first_group_) {
            return;
        }
        const size_t bytes = ggml_row_size(cache->type, cache->ne[0]);
        const int64_t end = std::min<int64_t>(place + PLACES + ASKED, listed_);
        for (place += PLACES; place < end; place++) {
            const char * from = at(cache, place);
            for (size_t i = 0; i < bytes; i += 64) {
                prefetch(from + i);
            }
        }
    }

    void add_group(const int64_t * queries, int64_t n) {
        if constexpr (GROUP > 2) {
            switch (n) {
                case 3: return add_places<3>(queries);
                case 4: return add_places<4>(queries);
                case 5: return add_places<5>(queries);
                case 6: return add_places<6>(queries);
            }
        }
        return n == 1 ? add_places<1>(queries) : add_places<2>(queries);
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

    const char * at(const ggml_tensor * cache, int64_t place) const {
        return static_cast<const char *>(cache->data) + list_[place] * cache->nb[1] + kv_head_ * cache->nb[2] +
               stream_ * cache->nb[3];
    }

    template <int N>
    void add_places(const int64_t * group) {
        const auto multiply_keys = [&](auto cache) { this->multiply_keys<N, decltype(cache)>(group); };
        with_cache_type(k_->type, multiply_keys);
        float shrunk[N];
        for (int n = 0; n < N; n++) {
            shrunk[n] = weigh(group[n]);
        }
        with_cache_type(v_->type, [&](auto cache) {
            int64_t d = 0;
            for (; d + 4 * SIMD_WIDTH <= value_size_; d += 4 * SIMD_WIDTH) {
                this->add_values<N, 4, decltype(cache)>(group, shrunk, d);
            }
            for (; d < value_size_; d += SIMD_WIDTH) {
                this->add_values<N, 1, decltype(cache)>(group, shrunk, d);
            }
        });
    }

    // Makes scores_ of the products with the keys.
    template <int N, typename Cache>
    void multiply_keys(const int64_t * group) {
        const float * queries[N];
        for (int n = 0; n < N; n++) {
            queries[n] = &queries_[group[n] * size_];
        }
        for (int j = 0; j < PLACES; j += SIMD_WIDTH) {
            if (j % ASKED == 0) {
                ask_behind(k_, j);
            }
            FloatVector folded[N][SIMD_WIDTH / 4];
            for (int four = 0; four < SIMD_WIDTH / 4; four++) {
                const char * keys[4];
                for (int c = 0; c < 4; c++) {
                    keys[c] = at(k_, std::min(j + 4 * four + c, places_ - 1));
                }
                FloatVector dots[N][4];
                for (int n = 0; n < N; n++) {
                    for (int c = 0; c < 4; c++) {
                        dots[n][c] = broadcast(0.0f);
                    }
                }
                for (int64_t d = 0; d < size_; d += SIMD_WIDTH) {
                    FloatVector key[4];
                    for (int c = 0; c < 4; c++) {
                        key[c] = Cache::load(keys[c], d);
                    }
                    for (int n = 0; n < N; n++) {
                        const FloatVector query = load(queries[n] + d);
                        for (int c = 0; c < 4; c++) {
                            dots[n][c] = multiply_add(query, key[c], dots[n][c]);
                        }
                    }
                }
                for (int n = 0; n < N; n++) {
                    folded[n][four] = fold_four(dots[n][0], dots[n][1], dots[n][2], dots[n][3]);
                }
            }
            for (int n = 0; n < N; n++) {
                store(&scores_[group[n] * PLACES + j], add(join_folded(folded[n]), load(mask_of_[group[n]] + j)));
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
        float most = largest_[query], shrunk = 1.0f;
        if (any_above(high, most)) {
            const float before = most;
            most = largest_[query] = largest(high);
            shrunk = std::exp(before - most);
        }
        FloatVector total = multiply(load(&weights_[query * SIMD_WIDTH]), broadcast(shrunk));
        for (int j = 0; j < PLACES; j += SIMD_WIDTH) {
            const FloatVector weight = exponential(add(load(score + j), broadcast(-most)));
            store(score + j, weight);
            total = add(total, weight);
        }
        store(&weights_[query * SIMD_WIDTH], total);
        return shrunk;
    }

    // Of C vectors of the values, from number `d` on.
    template <int N, int C, typename Cache>
    void add_values(const int64_t * group, const float (&shrunk)[N], int64_t d) {
        FloatVector sums[N][C];
        const float * weights[N];
        for (int n = 0; n < N; n++) {
            weights[n] = &scores_[group[n] * PLACES];
            for (int c = 0; c < C; c++) {
                sums[n][c] = multiply(load(&sums_[group[n] * value_size_ + d + c * SIMD_WIDTH]), broadcast(shrunk[n]));
            }
        }
        for (int from = 0; from < places_; from += ASKED) {
            if (d == 0) {
                ask_behind(v_, from);
            }
            const int to = std::min(from + ASKED, places_);
            for (int j = from; j < to; j++) {
                const char * row = at(v_, j);
                FloatVector value[C];
                for (int c = 0; c < C; c++) {
                    value[c] = Cache::load(row, d + c * SIMD_WIDTH);
                }
                for (int n = 0; n < N; n++) {
                    const FloatVector weight = broadcast(weights[n][j]);
                    for (int c = 0; c < C; c++) {
                        sums[n][c] = multiply_add(weight, value[c], sums[n][c]);
                    }
                }
            }
        }
        for (int n = 0; n < N; n++) {
            for (int c = 0; c < C; c++) {
                store(&sums_[group[n] * value_size_ + d + c * SIMD_WIDTH], sums[n][c]);
            }
        }
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

    // ggml's shapes, innermost first: q [head_size, rows, heads, streams], k and v [head_size, places, KV heads, streams],
    // mask [places, rows, 1, streams], op [head_size, heads, rows, streams].
    const ggml_tensor *op_ = nullptr, *q_ = nullptr, *k_ = nullptr, *v_ = nullptr, *mask_ = nullptr;
    // Floats of a key and of a value of one head, and heads that share a KV head.
    int64_t size_ = 0, value_size_ = 0, heads_ = 0;
    // The KV head and the stream at hand.
    int64_t kv_head_ = 0, stream_ = 0;
    const VisiblePlaces * visible_ = nullptr;
    static constexpr int MASKS = 2;
    struct MaskRead {
        int64_t pass = 0, places = 0;
        const ggml_tensor * mask = nullptr;
        VisiblePlaces visible;
    };
    MaskRead reads_[MASKS];
    int last_read_ = 0;
    bool is_first_group_ = true;  // Of the queries that the places at hand are computed with.
    // Queries of one KV head among those at hand.
    struct Part {
        int64_t kv_head, from, to;
    };
    std::vector<Part> parts_;
    // The places at hand, PLACES of them but at the end, and how many there are with those that follow in the list.
    const int32_t * list_ = nullptr;
    int64_t listed_ = 0;
    int places_ = 0;
    // Of the scores: 1 / sqrt(head_size) in most models.
    float scale_ = 1.0f;
    // Numbers of the queries that see any of the places at hand, in 0..count: at most `count` of them.
    std::vector<int64_t> seen_;
    // Row-major, of `count` queries:
    std::vector<float> queries_;           // [count, size_], scaled
    std::vector<float> masks_;             // [count, PLACES]: of a row's first query, for all of its
    std::vector<const float *> mask_of_;   // [count]: where in masks_ a query's is
    std::vector<float> scores_;            // [count, PLACES]: scores, then weights of the places at hand
    std::vector<float> sums_;              // [count, value_size_]: weighted sums of the values so far
    std::vector<float> weights_;           // [count, SIMD_WIDTH]: sums of the weights so far, by lanes
    std::vector<float> largest_;           // [count]: the largest score so far, which the weights are relative to
};

}  // namespace few_rows

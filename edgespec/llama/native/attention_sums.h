// Queries on their way through the cache: their scores at the places at hand, and the weighted sums of the values so far.

#pragma once

#include "cache_types.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace few_rows {

// Places of the cache that are handled at once.
constexpr int PLACES = 64;
// Of those, the ones that are asked for together.
constexpr int ASKED = 16;
// Queries whose sums are in registers at the same time.
constexpr int GROUP = REGISTERS == 32 ? 6 : 2;

// The keys or the values of one KV head, in one stream.
struct CacheRows {
    const char * first;
    size_t stride, bytes;
    ggml_type type;

    const char * at(int64_t place) const { return first + place * stride; }
};

// The places at hand, PLACES of them but at the end, and how many there are with those that follow in the list.
struct Places {
    const int32_t * list;
    int count;
    int64_t listed;
    CacheRows keys, values;

    // Behind the last of them it is repeated.
    const char * key(int i) const { return keys.at(list[std::min(i, count - 1)]); }
    const char * value(int i) const { return values.at(list[i]); }

    // Asks for ASKED rows PLACES places behind those from `i` on: rows of one head lie apart, by all heads of a place, and the
    // processor does not read ahead of such jumps by itself. A few at a time, while others are computed with: were all of a block
    // asked for at once, nothing would be computed until memory has taken the last of these questions.
    void ask_behind(const CacheRows & rows, int64_t i) const {
        const int64_t end = std::min<int64_t>(i + PLACES + ASKED, listed);
        for (i += PLACES; i < end; i++) {
            const char * row = rows.at(list[i]);
            for (size_t byte = 0; byte < rows.bytes; byte += 64) {
                prefetch(row + byte);
            }
        }
    }
};

// Of queries that share a KV head.
class QuerySums {
public:
    // `size` and `value_size`: floats of a key and of a value.
    void start(int64_t count, int64_t size, int64_t value_size) {
        size_ = size;
        value_size_ = value_size;
        queries_.resize(count * size);
        scores_.resize(count * PLACES);
        sums_.assign(count * value_size, 0.0f);
        weights_.assign(count * SIMD_WIDTH, 0.0f);
        largest_.assign(count, -INFINITY);
        mask_of_.resize(count);
    }

    void set_query(int64_t i, const float * from, float scale) {
        for (int64_t d = 0; d < size_; d += SIMD_WIDTH) {
            store(&queries_[i * size_ + d], multiply(load(from + d), broadcast(scale)));
        }
    }

    // What is added to a query's scores at the places at hand: PLACES floats.
    void set_mask(int64_t i, const float * mask) { mask_of_[i] = mask; }

    // Adds the places at hand to the sums of these queries, in groups as equal as can be.
    void go_through(const Places & places, const std::vector<int64_t> & queries) {
        places_ = &places;
        const auto all = static_cast<int64_t>(queries.size()), groups = (all + GROUP - 1) / GROUP;
        for (int64_t i = 0; i < groups; i++) {
            const int64_t begin = all * i / groups;
            is_first_group_ = i == 0;
            add_group(queries.data() + begin, all * (i + 1) / groups - begin);
        }
    }

    void finish(int64_t i, float * to) const {
        const float weight = add_up(load(&weights_[i * SIMD_WIDTH]));
        const FloatVector share = broadcast(weight == 0.0f ? 0.0f : 1.0f / weight);
        for (int64_t d = 0; d < value_size_; d += SIMD_WIDTH) {
            store(to + d, multiply(load(&sums_[i * value_size_ + d]), share));
        }
    }

private:
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

    template <int N>
    void add_places(const int64_t * group) {
        const auto multiply_keys = [&](auto cache) { this->multiply_keys<N, decltype(cache)>(group); };
        with_cache_type(places_->keys.type, multiply_keys);
        float shrunk[N];
        for (int n = 0; n < N; n++) {
            shrunk[n] = weigh(group[n]);
        }
        with_cache_type(places_->values.type, [&](auto cache) {
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
            if (is_first_group_ && j % ASKED == 0) {
                places_->ask_behind(places_->keys, j);
            }
            FloatVector folded[N][SIMD_WIDTH / 4];
            for (int four = 0; four < SIMD_WIDTH / 4; four++) {
                const char * keys[4];
                for (int c = 0; c < 4; c++) {
                    keys[c] = places_->key(j + 4 * four + c);
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
        for (int from = 0; from < places_->count; from += ASKED) {
            if (is_first_group_ && d == 0) {
                places_->ask_behind(places_->values, from);
            }
            const int to = std::min(from + ASKED, places_->count);
            for (int j = from; j < to; j++) {
                const char * row = places_->value(j);
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

    int64_t size_ = 0, value_size_ = 0;
    const Places * places_ = nullptr;
    bool is_first_group_ = true;  // of the queries that the places at hand are computed with
    // Row-major, by queries:
    std::vector<float> queries_;          // [count, size_], scaled
    std::vector<const float *> mask_of_;  // [count]
    std::vector<float> scores_;           // [count, PLACES]: scores, then weights of the places at hand
    std::vector<float> sums_;             // [count, value_size_]: weighted sums of the values so far
    std::vector<float> weights_;          // [count, SIMD_WIDTH]: sums of the weights so far, by lanes
    std::vector<float> largest_;          // [count]: the largest score so far, which the weights are relative to
};

}  // namespace few_rows

// The sums of attention: a group of queries with the places of a cache that are at hand.
//
// A query's sums are made in one order whatever else is in the batch or in the cache.

#pragma once

#include "cache_types.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace few_rows {

// Places of the cache that are handled at once.
constexpr int PLACES = 64;
// Of the queries, the ones whose sums are in registers at the same time.
constexpr int GROUP = REGISTERS == 32 ? 6 : 2;

// Knows the queries, scores and sums of a stretch of work; `Attention` says which of them are computed with which places.
class AttentionSums {
protected:
    // Finds places_ rows of each head, and the PLACES rows behind them.
    void find_rows() {
        for (int j = 0; j < 2 * PLACES; j++) {
            const int64_t place = list_[std::min<int64_t>(j, j < PLACES ? places_ - 1 : listed_ - 1)];
            key_rows_[j] = place * k_->nb[1];
            value_rows_[j] = place * v_->nb[1];
        }
    }

    // Asks for a row that comes PLACES rows later. Rows of one head lie apart, by all heads of a place, and the processor does not
    // read ahead of such jumps by itself. One at a time, while others are computed with: were all of a block asked for at once, nothing
    // would be computed until memory has taken the last of these questions.
    static void ask(const char * row, int64_t bytes) {
        for (int64_t i = 0; i < bytes; i += 64) {
            prefetch(row + i);
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

    template <int N>
    void add_places(const int64_t * group) {
        with_cache_type(k_->type, [&](auto cache) {
            switch (size_) {
                case 64: return this->multiply_keys<N, 64, decltype(cache)>(group);
                case 128: return this->multiply_keys<N, 128, decltype(cache)>(group);
            }
            this->multiply_keys<N, 0, decltype(cache)>(group);
        });
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

    // Makes scores_ of the products with the keys, which have SIZE floats, or size_ where that is 0.
    template <int N, int SIZE, typename Cache>
    void multiply_keys(const int64_t * group) {
        const int64_t size = SIZE != 0 ? SIZE : size_;
        const float * queries[N];
        for (int n = 0; n < N; n++) {
            queries[n] = &queries_[group[n] * size_];
        }
        for (int j = 0; j < PLACES; j += SIMD_WIDTH) {
            FloatVector folded[N][SIMD_WIDTH / 4];
            for (int four = 0; four < SIMD_WIDTH / 4; four++) {
                const char * keys[4];
                for (int c = 0; c < 4; c++) {
                    const int64_t * row = key_rows_ + j + 4 * four + c;
                    keys[c] = keys_ + row[0];
                    ask(keys_ + row[PLACES], Cache::bytes(size));
                }
                FloatVector dots[N][4];
                for (int n = 0; n < N; n++) {
                    for (int c = 0; c < 4; c++) {
                        dots[n][c] = broadcast(0.0f);
                    }
                }
                for (int64_t d = 0; d < size; d += SIMD_WIDTH) {
                    FloatVector key[4];
                    for (int c = 0; c < 4; c++) {
                        key[c] = Cache::load(keys[c], d);
                    }
                    for (int n = 0; n < N; n++) {
                        const FloatVector query = held(load(queries[n] + d));
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
        for (int j = 0; j < places_; j++) {
            const int64_t * row = value_rows_ + j;
            ask(values_ + row[PLACES] + Cache::bytes(d), Cache::bytes(C * SIMD_WIDTH));
            FloatVector value[C];
            for (int c = 0; c < C; c++) {
                value[c] = Cache::load(values_ + row[0], d + c * SIMD_WIDTH);
            }
            for (int n = 0; n < N; n++) {
                const FloatVector weight = held(broadcast(weights[n][j]));
                for (int c = 0; c < C; c++) {
                    sums[n][c] = multiply_add(weight, value[c], sums[n][c]);
                }
            }
        }
        for (int n = 0; n < N; n++) {
            for (int c = 0; c < C; c++) {
                store(&sums_[group[n] * value_size_ + d + c * SIMD_WIDTH], sums[n][c]);
            }
        }
    }

    // ggml's shapes, innermost first: q [head_size, rows, heads, streams], k and v [head_size, places, KV heads, streams],
    // mask [places, rows, 1, streams], op [head_size, heads, rows, streams].
    const ggml_tensor *op_ = nullptr, *q_ = nullptr, *k_ = nullptr, *v_ = nullptr, *mask_ = nullptr;
    // Floats of a key and of a value of one head, and heads that share a KV head.
    int64_t size_ = 0, value_size_ = 0, heads_ = 0;
    int64_t stream_ = 0;
    // Of the KV head at hand, the row of the cache's first place.
    const char *keys_ = nullptr, *values_ = nullptr;
    // The places at hand, PLACES of them but at the end, and how many there are with those that follow in the list.
    const int32_t * list_ = nullptr;
    int64_t listed_ = 0;
    int places_ = 0;
    // Bytes from the first place's row to those of the places at hand, and to those of PLACES that follow; the last one fills up.
    int64_t key_rows_[2 * PLACES], value_rows_[2 * PLACES];
    // Of the scores: 1 / sqrt(head_size) in most models.
    float scale_ = 1.0f;
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

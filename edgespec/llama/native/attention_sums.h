// The sums of attention: a group of queries with the places of a cache that are at hand.
//
// A query's sums are made in one order whatever else is in the batch or in the cache.

#pragma once

#include "cached_rows.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

namespace few_rows {

// Of the queries, the ones whose sums are in registers at the same time.
constexpr int GROUP = REGISTERS == 32 ? 6 : 3;
// With them are keys and values, while queries and weights come one after the other; or the other way round, where registers are few.
template <int N>
constexpr bool HOLDS_QUERIES = REGISTERS == 16 && N > 2;
// Queries from which on keys and values are made floats once for all groups, UNPACKED_FLOATS at a time, which the nearest cache
// holds. (With 32 registers six queries share a conversion anyway, and this has not been measured.)
constexpr int64_t UNPACKED_FROM = REGISTERS == 16 ? 2 * GROUP + 1 : INT64_MAX;
constexpr int64_t UNPACKED_COLUMNS = 64, UNPACKED_FLOATS = PLACES * UNPACKED_COLUMNS;

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

    // Adds the places at hand to the sums of queries of one KV head.
    void add_places(const std::vector<int64_t> & queries) {
        const auto count = static_cast<int64_t>(queries.size());
        if (count < UNPACKED_FROM) {
            each_group(queries, [&](auto n, const int64_t * group) {
                with_cache_type(k_->type, [&](auto cache) {
                    multiply_keys_of<n.value>(group, CachedRows<decltype(cache)>{keys_, key_rows_}, 0, PLACES);
                });
                weigh_all(group, n.value);
                with_cache_type(v_->type, [&](auto cache) {
                    add_columns<n.value>(group, CachedRows<decltype(cache)>{values_, value_rows_}, 0, value_size_);
                });
            });
            return;
        }
        const auto at_once = static_cast<int>(std::clamp<int64_t>(
            UNPACKED_FLOATS / size_ / SIMD_WIDTH * SIMD_WIDTH, SIMD_WIDTH, PLACES));
        for (int from = 0; from < PLACES; from += at_once) {
            const int to = std::min(PLACES, from + at_once);
            const UnpackedRows rows = unpack(*k_, keys_, key_rows_, from, to, 0, size_);
            each_group(queries, [&](auto n, const int64_t * group) { multiply_keys_of<n.value>(group, rows, from, to); });
        }
        weigh_all(queries.data(), count);
        for (int64_t from = 0; from < value_size_; from += UNPACKED_COLUMNS) {
            const int64_t to = std::min(value_size_, from + UNPACKED_COLUMNS);
            const UnpackedRows rows = unpack(*v_, values_, value_rows_, 0, places_, from, to);
            each_group(queries, [&](auto n, const int64_t * group) { add_columns<n.value>(group, rows, from, to); });
        }
    }

    // Calls add(number, group) with as few groups as possible, none much smaller than others.
    template <typename Add>
    static void each_group(const std::vector<int64_t> & queries, const Add & add) {
        const auto count = static_cast<int64_t>(queries.size()), groups = (count + GROUP - 1) / GROUP;
        for (int64_t i = 0; i < groups; i++) {
            const int64_t begin = count * i / groups;
            with_number<GROUP>(count * (i + 1) / groups - begin, [&](auto n) { add(n, queries.data() + begin); });
        }
    }

    // Calls run with a number of 1..MOST that the compiler knows.
    template <int MOST, typename Run>
    static void with_number(int64_t number, const Run & run) {
        if constexpr (MOST > 1) {
            if (number < MOST) {
                return with_number<MOST - 1>(number, run);
            }
        }
        run(std::integral_constant<int, MOST>{});
    }

    // Makes floats of a KV head's rows from..to, of each those from_d..to_d.
    UnpackedRows unpack(
        const ggml_tensor & tensor, const char * first, const int64_t * offsets, int from, int to, int64_t from_d, int64_t to_d) {
        const int64_t columns = to_d - from_d;
        unpacked_.resize(std::max<int64_t>(UNPACKED_FLOATS, SIMD_WIDTH * columns));
        with_cache_type(tensor.type, [&](auto cache) {
            using Cache = decltype(cache);
            float * out = unpacked_.data();
            for (int j = from; j < to; j++, out += columns) {
                const char * row = CachedRows<Cache>{first, offsets}.read(j, from_d, columns);
                for (int64_t d = 0; d < columns; d += SIMD_WIDTH) {
                    store(out + d, Cache::load(row, from_d + d));
                }
            }
        });
        return {unpacked_.data(), columns, from_d, from};
    }

    template <int N, typename Rows>
    void multiply_keys_of(const int64_t * group, const Rows & rows, int from, int to) {
        switch (size_) {
            case 64: return multiply_keys<N, 64>(group, rows, from, to);
            case 128: return multiply_keys<N, 128>(group, rows, from, to);
        }
        multiply_keys<N, 0>(group, rows, from, to);
    }

    // Makes scores_ of the products with the keys from..to, which have SIZE floats, or size_ where that is 0.
    template <int N, int SIZE, typename Rows>
    void multiply_keys(const int64_t * group, const Rows & rows, int from, int to) {
        using Cache = typename Rows::Cache;
        const int64_t size = SIZE != 0 ? SIZE : size_;
        const float * queries[N];
        for (int n = 0; n < N; n++) {
            queries[n] = &queries_[group[n] * size_];
        }
        for (int j = from; j < to; j += SIMD_WIDTH) {
            FloatVector folded[N][SIMD_WIDTH / 4];
            for (int four = 0; four < SIMD_WIDTH / 4; four++) {
                const char * keys[4];
                for (int c = 0; c < 4; c++) {
                    keys[c] = rows.read(j + 4 * four + c, 0, size);
                }
                FloatVector dots[N][4];
                for (int n = 0; n < N; n++) {
                    for (int c = 0; c < 4; c++) {
                        dots[n][c] = broadcast(0.0f);
                    }
                }
                for (int64_t d = 0; d < size; d += SIMD_WIDTH) {
                    if constexpr (HOLDS_QUERIES<N>) {
                        FloatVector query[N];
                        for (int n = 0; n < N; n++) {
                            query[n] = held(load(queries[n] + d));
                        }
                        for (int c = 0; c < 4; c++) {
                            const FloatVector key = held(Cache::load(keys[c], d));
                            for (int n = 0; n < N; n++) {
                                dots[n][c] = multiply_add(query[n], key, dots[n][c]);
                            }
                        }
                    } else {
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

    void weigh_all(const int64_t * queries, int64_t count) {
        for (int64_t i = 0; i < count; i++) {
            shrunk_[queries[i]] = weigh(queries[i]);
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

    template <int N, typename Rows>
    void add_columns(const int64_t * group, const Rows & rows, int64_t from, int64_t to) {
        int64_t d = from;
        for (; d + 4 * SIMD_WIDTH <= to; d += 4 * SIMD_WIDTH) {
            add_values<N, 4>(group, rows, d);
        }
        for (; d < to; d += SIMD_WIDTH) {
            add_values<N, 1>(group, rows, d);
        }
    }

    // Of C vectors of the values, from number `d` on.
    template <int N, int C, typename Rows>
    void add_values(const int64_t * group, Rows rows, int64_t d) {
        using Cache = typename Rows::Cache;
        // Whole blocks of a cache's type begin at `d`, so that the compiler sees which vectors have a scale in common.
        const int64_t block = C * SIMD_WIDTH % QK8_0 == 0 ? d : 0;
        FloatVector sums[N][C];
        const float * weights[N];
#pragma GCC unroll 6
        for (int n = 0; n < N; n++) {
            weights[n] = &scores_[group[n] * PLACES];
#pragma GCC unroll 6
            for (int c = 0; c < C; c++) {
                sums[n][c] = multiply(load(&sums_[group[n] * value_size_ + d + c * SIMD_WIDTH]), broadcast(shrunk_[group[n]]));
            }
        }
        for (int j = 0; j < places_; j++) {
            const char * row = rows.read(j, d, C * SIMD_WIDTH) + Cache::bytes(block);
            if constexpr (HOLDS_QUERIES<N>) {
                FloatVector weight[N];
#pragma GCC unroll 6
                for (int n = 0; n < N; n++) {
                    weight[n] = held(broadcast(weights[n][j]));
                }
#pragma GCC unroll 6
                for (int c = 0; c < C; c++) {
                    const FloatVector value = held(Cache::load(row, d - block + c * SIMD_WIDTH));
#pragma GCC unroll 6
                    for (int n = 0; n < N; n++) {
                        sums[n][c] = multiply_add(weight[n], value, sums[n][c]);
                    }
                }
            } else {
                FloatVector value[C];
#pragma GCC unroll 6
                for (int c = 0; c < C; c++) {
                    value[c] = Cache::load(row, d - block + c * SIMD_WIDTH);
                }
#pragma GCC unroll 6
                for (int n = 0; n < N; n++) {
                    const FloatVector weight = held(broadcast(weights[n][j]));
#pragma GCC unroll 6
                    for (int c = 0; c < C; c++) {
                        sums[n][c] = multiply_add(weight, value[c], sums[n][c]);
                    }
                }
            }
        }
#pragma GCC unroll 6
        for (int n = 0; n < N; n++) {
#pragma GCC unroll 6
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
    std::vector<float> shrunk_;            // [count]: what the sums so far shrink by at the places at hand
    std::vector<float> unpacked_;          // keys or values of one KV head
    std::vector<float> largest_;           // [count]: the largest score so far, which the weights are relative to
};

}  // namespace few_rows

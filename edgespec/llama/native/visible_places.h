// Which places of the cache the rows of a product see, so that a row is computed by these alone, in their order: its result does
// not depend on where in the cache they lie, nor on what lies between them.

#pragma once

#include "simd.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

namespace few_rows {

// Neighbouring rows of which each sees what the one before it sees, and nothing before the last of these places: the rows of one
// sequence do. They share one list of places, of which each sees the first ones.
struct RowGroup {
    int64_t end;           // Of its rows.
    const int32_t * list;  // Places in ascending order.
    int64_t count;
};

// The groups of one product, by streams of the cache. Kept by a thread from one product to the next.
class VisiblePlaces {
public:
    // mask [places, rows, 1, streams] in half precision, minus infinity where a row does not see a place; without one all do.
    void read(const ggml_tensor * mask, int64_t rows, int64_t places) {
        rows_ = rows;
        words_ = (places + 63) / 64;
        streams_ = mask ? mask->ne[3] : 1;
        places_.clear();
        groups_.clear();
        group_of_.clear();
        if (!mask) {
            places_.resize(places);
            std::iota(places_.begin(), places_.end(), 0);
            close(0, rows, 0);
            return;
        }
        for (int64_t stream = 0; stream < streams_; stream++) {
            group_.assign(words_, 0);
            for (int64_t row = 0; row < rows; row++) {
                find_seen(mask, stream, row, places);
                if (row > 0 && !goes_on()) {
                    close_seen(stream, row);
                }
                std::swap(group_, row_);
            }
            close_seen(stream, rows);
        }
    }

    // The group of a row.
    RowGroup of(int64_t stream, int64_t row) const {
        const Group & group = groups_[group_of_[(streams_ == 1 ? 0 : stream) * rows_ + row]];
        return {group.end, places_.data() + group.from, static_cast<int64_t>(group.to - group.from)};
    }

private:
    struct Group {
        int64_t end;
        size_t from, to;  // In places_.
    };

    // Fills row_ with a bit for every place that a row sees.
    void find_seen(const ggml_tensor * mask, int64_t stream, int64_t row, int64_t places) {
        const auto * from = reinterpret_cast<const ggml_fp16_t *>(
            static_cast<const char *>(mask->data) + row * mask->nb[1] + stream * mask->nb[3]);
        row_.assign(words_, 0);
        int64_t place = 0;
        for (; place + 64 <= places; place += 64) {
            row_[place / 64] = bits_unlike(from + place, MINUS_INFINITY);
        }
        for (; place < places; place++) {
            row_[place / 64] |= static_cast<uint64_t>(from[place] != MINUS_INFINITY) << place % 64;
        }
    }

    // Whether row_ is all of group_, and perhaps more behind it.
    bool goes_on() const {
        int64_t last = words_ - 1;
        while (last >= 0 && group_[last] == 0) {
            last--;
        }
        if (last < 0) {
            return true;
        }
        // All bits up to the highest one.
        uint64_t known = group_[last];
        for (int shift = 1; shift < 64; shift *= 2) {
            known |= known >> shift;
        }
        return std::equal(group_.begin(), group_.begin() + last, row_.begin()) && (row_[last] & known) == group_[last];
    }

    // Ends a group before row `end`: its list is what group_ has.
    void close_seen(int64_t stream, int64_t end) {
        const size_t from = places_.size();
        for (int64_t word = 0; word < words_; word++) {
            for (int bit = 0; bit < 64 && group_[word] >> bit != 0; bit++) {
                if (group_[word] >> bit & 1) {
                    places_.push_back(static_cast<int32_t>(64 * word + bit));
                }
            }
        }
        close(stream, end, from);
    }

    void close(int64_t stream, int64_t end, size_t from) {
        groups_.push_back({end, from, places_.size()});
        group_of_.resize(stream * rows_ + end, static_cast<int32_t>(groups_.size() - 1));
    }

    static constexpr ggml_fp16_t MINUS_INFINITY = 0xfc00;

    int64_t rows_ = 0, words_ = 0, streams_ = 1;
    std::vector<uint64_t> row_, group_;
    std::vector<int32_t> places_, group_of_;  // group_of_ [streams, rows]
    std::vector<Group> groups_;
};

}  // namespace few_rows

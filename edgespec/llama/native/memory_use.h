// What the nodes of a graph read and write, to know which of them may run beside each other. By places in memory and not by
// tensors: ggml gives the memory of a tensor that is read no more to another one.

#pragma once

#include "ggml.h"

#include <algorithm>
#include <vector>

namespace few_rows {

struct Range {
    const char *from, *to;

    bool meets(const Range & other) const { return from < other.to && other.from < to; }
};

inline Range range_of(const ggml_tensor * tensor) {
    const auto * from = static_cast<const char *>(tensor->data);
    return {from, from + ggml_nbytes(tensor)};
}

// How a node uses the memory that the threads share for intermediate results.
struct Scratch {
    enum Kind { NONE, OWN_PARTS, WHOLE } kind = NONE;
    int64_t part = 0;  // Size of a thread's own part.

    bool meets(const Scratch & other) const {
        return kind != NONE && other.kind != NONE && (kind == WHOLE || other.kind == WHOLE || part != other.part);
    }
};

class MemoryUse {
public:
    void clear() {
        reads_.clear();
        writes_.clear();
        scratches_.clear();
    }
    void read(const Range & range) { reads_.push_back(range); }
    void write(const Range & range) { writes_.push_back(range); }
    void use(const Scratch & scratch) {
        if (scratch.kind != Scratch::NONE) {
            scratches_.push_back(scratch);
        }
    }
    void add(const MemoryUse & other) {
        reads_.insert(reads_.end(), other.reads_.begin(), other.reads_.end());
        writes_.insert(writes_.end(), other.writes_.begin(), other.writes_.end());
        scratches_.insert(scratches_.end(), other.scratches_.begin(), other.scratches_.end());
    }

    // Whether this reads what the other writes.
    bool needs(const MemoryUse & other) const {
        return std::any_of(reads_.begin(), reads_.end(), [&](const Range & range) { return meets(other.writes_, range); });
    }
    // Whether this writes where the other reads or writes.
    bool overwrites(const MemoryUse & other) const {
        return std::any_of(writes_.begin(), writes_.end(), [&](const Range & range) {
            return meets(other.writes_, range) || meets(other.reads_, range);
        });
    }
    bool shares_scratch(const MemoryUse & other) const {
        for (const Scratch & a : scratches_) {
            for (const Scratch & b : other.scratches_) {
                if (a.meets(b)) {
                    return true;
                }
            }
        }
        return false;
    }

private:
    static bool meets(const std::vector<Range> & ranges, const Range & range) {
        return std::any_of(ranges.begin(), ranges.end(), [&](const Range & other) { return other.meets(range); });
    }

    std::vector<Range> reads_, writes_;
    std::vector<Scratch> scratches_;
};

}  // namespace few_rows

// Where a pass spends its time, by steps: what threads compute, and how long they wait for each other.

#pragma once

#include "plan.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace few_rows {

using Nanoseconds = int64_t;

inline Nanoseconds now() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Of one step and one thread.
struct StepTime {
    Nanoseconds computing = 0, waiting = 0;
};

// Sums over passes, by the kinds of steps; those of all layers are one kind.
class Profile {
public:
    static Profile & the() {
        static Profile one;
        return one;
    }

    bool is_on() const { return is_on_.load(std::memory_order_relaxed); }

    // From now on, with all sums at zero.
    void start() {
        const std::lock_guard<std::mutex> guard(lock_);
        kinds_.clear();
        is_on_ = true;
    }

    // Ends it: a line for each kind, with tabs between its name, steps, and nanoseconds of computing and waiting, each the mean
    // of all threads. "graph" is the whole pass, so that what ggml computes by itself is what is left of it.
    std::string stop() {
        const std::lock_guard<std::mutex> guard(lock_);
        is_on_ = false;
        std::string text;
        for (const auto & [name, sum] : kinds_) {
            text += name + '\t' + std::to_string(sum.steps) + '\t' + std::to_string(sum.time.computing) + '\t' +
                    std::to_string(sum.time.waiting) + '\n';
        }
        return text;
    }

    void add(const std::string & kind, const StepTime & time) {
        const std::lock_guard<std::mutex> guard(lock_);
        Sum & sum = kinds_[kind];
        sum.steps++;
        sum.time.computing += time.computing;
        sum.time.waiting += time.waiting;
    }

private:
    struct Sum {
        int64_t steps = 0;
        StepTime time;
    };

    std::atomic<bool> is_on_{false};
    std::mutex lock_;
    std::map<std::string, Sum> kinds_;
};

// Such as "MUL_MAT attn_q+attn_v+attn_k": what it does, and the weights or else the result without the number of its layer.
inline std::string kind_of(const Step & step) {
    const auto without_layer = [](std::string name) {
        name.erase(std::remove_if(name.begin(), name.end(), [](char c) { return '0' <= c && c <= '9'; }), name.end());
        return name;
    };
    std::string kind = ggml_op_name(step.node->op);
    if (step.kind != Step::PRODUCTS) {
        const ggml_tensor * weights = step.function == multiply_node ? step.node->src[0] : step.node;
        return kind + ' ' + without_layer(weights->name);
    }
    for (int i = 0; i < step.products.count(); i++) {
        kind += (i == 0 ? ' ' : '+') + without_layer(step.products[i]->src[0]->name);
    }
    return kind;
}

}  // namespace few_rows

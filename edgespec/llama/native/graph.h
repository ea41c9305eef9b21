// Steps that ggml sees as one node of a graph.

#pragma once

#include "profile.h"

namespace few_rows {

class StepGroup {
public:
    StepGroup(const Step * first, const Step * end, Pass * its_pass) : first_(first), end_(end), pass_(its_pass) {
        node_.op = GGML_OP_CUSTOM;
        node_.flags = GGML_TENSOR_FLAG_COMPUTE;
        for (int64_t & size : node_.ne) {
            size = 1;
        }
        node_.extra = this;
        node_.data = mark();
    }

    ggml_tensor * node() { return &node_; }

    // The group that a node stands for, or null.
    static const StepGroup * of(const ggml_tensor * node) {
        return node->op == GGML_OP_CUSTOM && node->data == mark() ? static_cast<const StepGroup *>(node->extra) : nullptr;
    }

    // Before the threads run it.
    void begin(const ggml_cplan * plan) {
        plan_ = plan;
        aborted_before_.store(nullptr, std::memory_order_relaxed);
        times_.assign(Profile::the().is_on() ? (end_ - first_) * plan->n_threads : 0, {});
    }

    // By each thread of a pool.
    void run(const ggml_compute_params * params) const {
        pass = pass_;
        StepTime * times = times_.empty() ? nullptr : &times_[(end_ - first_) * params->ith];
        Nanoseconds began = times ? now() : 0;
        const auto count = [&](Nanoseconds & sum) {
            const Nanoseconds ended = now();
            sum += ended - began;
            began = ended;
        };
        for (const Step * step = first_; step < end_; step++) {
            if (step->meets && step != first_) {
                step->prepare(params);
                if (!meet(params, step)) {
                    break;
                }
                if (times) {
                    count(times[step - first_ - 1].waiting);
                }
            }
            step->run(params);
            if (times) {
                count(times[step - first_].computing);
            }
        }
        pass = nullptr;
    }

    bool is_aborted() const { return aborted_before_.load(std::memory_order_relaxed) != nullptr; }

    // After all threads, with a profile.
    void end() const {
        const auto steps = static_cast<size_t>(end_ - first_);
        const auto threads = static_cast<Nanoseconds>(times_.size() / steps);
        for (size_t step = 0; step < steps && threads > 0; step++) {
            StepTime mean;
            for (size_t i = step; i < times_.size(); i += steps) {
                mean.computing += times_[i].computing;
                mean.waiting += times_[i].waiting;
            }
            Profile::the().add(kind_of(first_[step]), {mean.computing / threads, mean.waiting / threads});
        }
    }

private:
    // Whether the pass goes on. Threads compare steps, because the first one may be at the next step already.
    bool meet(const ggml_compute_params * params, const Step * step) const {
        if (params->ith == 0 && plan_->abort_callback && plan_->abort_callback(plan_->abort_callback_data)) {
            aborted_before_.store(step, std::memory_order_relaxed);
        }
        pass_->meeting.wait(params->nth);
        return aborted_before_.load(std::memory_order_relaxed) != step;
    }

    // What no other node has as its data.
    static void * mark() {
        static char place;
        return &place;
    }

    const Step *first_, *end_;
    Pass * pass_;
    const ggml_cplan * plan_ = nullptr;
    mutable std::atomic<const Step *> aborted_before_{nullptr};
    mutable std::vector<StepTime> times_;  // [threads, steps]; none without a profile.
    ggml_tensor node_{};
};

}  // namespace few_rows

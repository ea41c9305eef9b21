// Graphs of ggml's in fewer steps: called in place of the function that goes from node to node (few_rows.cmake).
//
// A small model's step has some 500 nodes, and at each all threads wait for the slowest. Here a graph becomes steps (plan.h), of
// which those that follow each other without a node of ggml's between are given to ggml as one node. All threads get it
// (few_rows.cpp), and meet in it only where one reads what another wrote.

#include "export.h"
#include "isa.h"

#ifdef EDGESPEC_KERNELS_ISA
#    include "graph.h"
#endif

#include "ggml-cpu.h"
#include "ggml-impl.h"

extern "C" ggml_cplan edgespec_graph_plan(const ggml_cgraph * graph, int threads, ggml_threadpool * threadpool);
extern "C" ggml_status edgespec_graph_compute(ggml_cgraph * graph, ggml_cplan * plan);
EDGESPEC_EXPORT void edgespec_profile_start(void);
EDGESPEC_EXPORT const char * edgespec_profile_stop(void);

#ifdef EDGESPEC_KERNELS_ISA

namespace few_rows {

thread_local Pass * pass = nullptr;

namespace {

// Graphs that a thread computes again and again, as those of target and draft.
constexpr size_t KEPT_GRAPHS = 4;

class StepGraph {
public:
    StepGraph(const ggml_cgraph * graph, const ggml_cplan * plan)
        : uid_(graph->uid), scratch_bytes_(plan->work_size), steps_(Planner(graph, plan->work_size, elsewhere_).plan()) {
        for (size_t from = 0; from < steps_.size();) {
            size_t to = from + 1;
            if (steps_[from].function == nullptr && steps_[from].kind == Step::NODE) {
                nodes_.push_back(steps_[from].node);
            } else {
                while (to < steps_.size() && (steps_[to].kind != Step::NODE || steps_[to].function != nullptr)) {
                    to++;
                }
                groups_.push_back(std::make_unique<StepGroup>(&steps_[from], &steps_[to], &pass_));
                nodes_.push_back(groups_.back()->node());
            }
            from = to;
        }
    }

    bool is_of(const ggml_cgraph * graph, const ggml_cplan * plan) const {
        return graph->uid == uid_ && plan->work_size == scratch_bytes_;
    }

    ggml_status compute(const ggml_cgraph * graph, ggml_cplan * plan) {
        static std::atomic<int64_t> passes{0};
        pass_.number = ++passes;
        for (const auto & group : groups_) {
            group->begin(plan);
        }
        ggml_cgraph steps = *graph;
        steps.nodes = nodes_.data();
        steps.n_nodes = static_cast<int>(nodes_.size());
        const Nanoseconds began = now();
        ggml_status status = ggml_graph_compute(&steps, plan);
        if (std::any_of(groups_.begin(), groups_.end(), [](const auto & group) { return group->is_aborted(); })) {
            status = GGML_STATUS_ABORTED;
        }
        if (Profile::the().is_on()) {
            Profile::the().add("graph", {now() - began, 0});
            for (const auto & group : groups_) {
                group->end();
            }
        }
        return status;
    }

private:
    uint64_t uid_;
    size_t scratch_bytes_;
    Elsewhere elsewhere_;
    std::vector<Step> steps_;
    std::vector<std::unique_ptr<StepGroup>> groups_;
    std::vector<ggml_tensor *> nodes_;
    Pass pass_{};
};

// What ggml works out anew for each pass from all nodes, by the graph and the number of threads.
class KeptPlans {
public:
    const ggml_cplan & of(const ggml_cgraph * graph, int threads) {
        const auto is_it = [&](const Kept & one) {
            return one.uid == graph->uid && one.nodes == graph->n_nodes && one.threads == threads;
        };
        auto found = std::find_if(std::begin(all_), std::end(all_), is_it);
        if (graph->uid == 0 || found == std::end(all_)) {
            found = std::end(all_) - 1;
            *found = {graph->uid, graph->n_nodes, threads, ggml_graph_plan(graph, threads, nullptr)};
        }
        std::rotate(std::begin(all_), found, found + 1);
        return all_[0].plan;
    }

private:
    struct Kept {
        uint64_t uid;
        int nodes, threads;
        ggml_cplan plan;
    };

    Kept all_[KEPT_GRAPHS] = {};
};

StepGraph & steps_of(const ggml_cgraph * graph, const ggml_cplan * plan) {
    static thread_local std::vector<std::unique_ptr<StepGraph>> kept;
    static thread_local std::unique_ptr<StepGraph> nameless;
    if (graph->uid == 0) {
        nameless = std::make_unique<StepGraph>(graph, plan);
        return *nameless;
    }
    const auto found = std::find_if(kept.begin(), kept.end(), [&](const auto & one) { return one->is_of(graph, plan); });
    if (found == kept.end()) {
        if (kept.size() == KEPT_GRAPHS) {
            kept.pop_back();
        }
        kept.insert(kept.begin(), std::make_unique<StepGraph>(graph, plan));
    } else {
        std::rotate(kept.begin(), found, found + 1);
    }
    return *kept.front();
}

}  // namespace
}  // namespace few_rows

ggml_cplan edgespec_graph_plan(const ggml_cgraph * graph, int threads, ggml_threadpool * threadpool) {
    static thread_local few_rows::KeptPlans kept;
    if (threads <= 0) {
        return ggml_graph_plan(graph, threads, threadpool);
    }
    ggml_cplan plan = kept.of(graph, threads);
    plan.threadpool = threadpool;
    return plan;
}

ggml_status edgespec_graph_compute(ggml_cgraph * graph, ggml_cplan * plan) {
    if (!few_rows::is_switched_on() || plan->use_ref || plan->work_size == 0) {
        return ggml_graph_compute(graph, plan);
    }
    return few_rows::steps_of(graph, plan).compute(graph, plan);
}

void edgespec_profile_start(void) {
    few_rows::Profile::the().start();
}

// A text that lasts until the next call (profile.h).
const char * edgespec_profile_stop(void) {
    static std::string text;
    text = few_rows::Profile::the().stop();
    return text.c_str();
}

#else

ggml_cplan edgespec_graph_plan(const ggml_cgraph * graph, int threads, ggml_threadpool * threadpool) {
    return ggml_graph_plan(graph, threads, threadpool);
}

ggml_status edgespec_graph_compute(ggml_cgraph * graph, ggml_cplan * plan) {
    return ggml_graph_compute(graph, plan);
}

void edgespec_profile_start(void) {}

const char * edgespec_profile_stop(void) {
    return "";
}

#endif

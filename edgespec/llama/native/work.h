// How the threads of ggml's pool share a product, and what the thread that asked for a pass tells the others.

#pragma once

#include "ggml-backend-impl.h"
#include "ggml-cpu-impl.h"
#include "ggml-cpu.h"

#include "pass.h"

#include <cstdint>
#include <cstring>

namespace few_rows {

// Of a thread's share of a product, and of them those that no other thread takes over when this one is held up.
constexpr int PARTS = 8, FIXED_PARTS = 6;

// The rows of the output matrix that are computed, in eights and in ascending order; null for all of them.
struct Shortlist {
    const int32_t * eights;
    int64_t count;
};
// Of the passes that this thread asks for: other contexts may be computed in other threads at the same time.
extern thread_local Shortlist shortlist;

// Whether edgespec's kernels are to be used: for tensors, when they are laid out, and for attention.
bool is_switched_on();

// The name is llama.cpp's, given to the product that makes the logits (llama-graph.h, t_logits).
inline bool makes_logits(const ggml_tensor * op) {
    return std::strcmp(op->name, "result_output") == 0;
}

// Where the thread that asked for a pass tells the others of its pool: at the end of the work buffer, which ggml makes longer
// by a cache line for each thread than a product needs (ggml_graph_plan).
inline char * shared_place(const ggml_compute_params * params) {
    return static_cast<char *>(params->wdata) + params->wsize - sizeof(Shortlist);
}

// Waits for all threads, with a shared product's parts and the list of thread 0 set out for `share` and `list_for`.
inline void meet(const ggml_compute_params * params) {
    if (params->ith == 0) {
        // ggml computes in the thread that called llama_decode, and that is its number 0.
        std::memcpy(shared_place(params), &shortlist, sizeof shortlist);
        ggml_threadpool_chunk_set(params->threadpool, params->nth);
    }
    meet_others(params);
}

// Calls work(from, to) with parts of 0..units until all threads together have done them all. Each thread reads most of its
// share in one go, because memory is read at half its speed in jumps of 16 KiB; whoever is done first takes of what is left.
template <typename Work>
void share(const ggml_compute_params * params, int64_t units, const Work & work) {
    const auto edge = [&](int64_t thread, int part) {
        const int64_t from = units * thread / params->nth, to = units * (thread + 1) / params->nth;
        return from + (to - from) * part / PARTS;
    };
    work(edge(params->ith, 0), edge(params->ith, FIXED_PARTS));
    const int left = params->nth * (PARTS - FIXED_PARTS);
    for (int i; (i = ggml_threadpool_chunk_add(params->threadpool, 1) - params->nth) < left;) {
        const int thread = i % params->nth, part = FIXED_PARTS + i / params->nth;
        work(edge(thread, part), edge(thread, part + 1));
    }
}

// The list for a product, after `meet`; none for another product than that of the logits, and none that goes beyond the matrix.
inline Shortlist list_for(const ggml_compute_params * params, const ggml_tensor * op) {
    Shortlist list;
    std::memcpy(&list, shared_place(params), sizeof list);
    const bool is_meant = list.eights != nullptr && makes_logits(op) && list.eights[0] >= 0 &&
                          list.eights[list.count - 1] < op->src[0]->ne[1] / 8;
    return is_meant ? list : Shortlist{nullptr, 0};
}

}  // namespace few_rows

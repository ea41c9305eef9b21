// edgespec's kernels in ggml's CPU backend, above all for the few rows of a verification in speculative decoding.
//
// ggml's own kernels multiply one row fast, and many rows fast, but between them mostly repeat the work of one. Here a block of
// weights is unpacked once for all rows (panels.h), and so is a block of keys and values (attention.h). The integer parts are
// those of ggml's kernels; only the order of the float sums differs, and it is the same for a row in every batch.
//
// Called by every thread of ggml's pool in place of the function that ggml-cpu.c asks first (few_rows.cmake).
// EDGESPEC_KERNELS=0 in the environment switches it off, to compare.

#include "common.h"
#include "export.h"
#include "isa.h"
#include "traits.h"

#include <cstdlib>

#ifdef EDGESPEC_KERNELS_ISA
#    include "graph.h"
#endif

EDGESPEC_EXPORT const char * edgespec_kernels_version(void);
EDGESPEC_EXPORT const char * edgespec_kernels_isa(void);
EDGESPEC_EXPORT void edgespec_kernels_switch(bool on);
EDGESPEC_EXPORT void edgespec_shortlist(const int32_t * eights, int64_t count);
extern "C" bool edgespec_extra_compute_forward(ggml_compute_params * params, ggml_tensor * op);

const char * edgespec_kernels_version(void) {
    return EDGESPEC_KERNELS;
}

#ifdef EDGESPEC_KERNELS_ISA

namespace {

bool is_wanted_by_user() {
    const char * value = std::getenv("EDGESPEC_KERNELS");
    return value == nullptr || std::strcmp(value, "0") != 0;
}

bool switched_on = true;

// From this many queries on, by heads and rows, threads take them as they come: later rows see more.
constexpr int64_t MANY_QUERIES = 256;

}  // namespace

namespace few_rows {

thread_local Shortlist shortlist = {nullptr, 0};

bool is_switched_on() {
    static const bool wanted = is_wanted_by_user();
    return wanted && switched_on;
}

bool can_attend(const ggml_tensor * op) {
    return Attention::can(op);
}

void attend(const ggml_compute_params * params, const ggml_tensor * op) {
    static thread_local Attention attention;
    const int64_t queries = attention.start(op);
    if (queries < MANY_QUERIES) {
        attention.attend_part(queries * params->ith / params->nth, queries * (params->ith + 1) / params->nth);
        return;
    }
    meet(params);
    const int64_t parts = (queries + MOST_QUERIES - 1) / MOST_QUERIES;
    for (int64_t part = params->ith; part < parts; part = ggml_threadpool_chunk_add(params->threadpool, 1)) {
        attention.attend_part(queries * (parts - 1 - part) / parts, queries * (parts - part) / parts);
    }
}

}  // namespace few_rows

const char * edgespec_kernels_isa(void) {
    return few_rows::is_switched_on() ? EDGESPEC_KERNELS_ISA : "";
}

void edgespec_kernels_switch(bool on) {
    switched_on = on;
}

void edgespec_shortlist(const int32_t * eights, int64_t count) {
    few_rows::shortlist = {count > 0 ? eights : nullptr, count};
}

bool edgespec_extra_compute_forward(ggml_compute_params * params, ggml_tensor * op) {
    if (const few_rows::StepGroup * steps = few_rows::StepGroup::of(op)) {
        steps->run(params);
        return true;
    }
    return ggml_cpu_extra_compute_forward(params, op);
}

#else

const char * edgespec_kernels_isa(void) {
    return "";
}

void edgespec_kernels_switch(bool) {}

void edgespec_shortlist(const int32_t *, int64_t) {}

bool edgespec_extra_compute_forward(ggml_compute_params * params, ggml_tensor * op) {
    return ggml_cpu_extra_compute_forward(params, op);
}

#endif

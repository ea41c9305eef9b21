// Products of a weight matrix with a few rows, as one verification of speculative decoding needs them.
//
// ggml's own kernels multiply one row fast, and sixteen or more, but between them mostly repeat the work of one: with Q4_K
// and Q6_K weights four rows cost three times as much. Here a block of weights is unpacked once for all rows. The integer
// parts are those of ggml's kernels; only the order of the float sums differs.
//
// Called by every thread of ggml's pool in place of the two functions that ggml-cpu.c asks first (narrow.cmake).
// EDGESPEC_KERNELS=0 in the environment switches it off, to compare.

#include "ggml-backend-impl.h"
#include "ggml-cpu-impl.h"
#include "ggml-cpu.h"
#include "repack.h"
#include "tiled/tiled.h"
#include "traits.h"

#include <cstdlib>
#include <cstring>

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#    include "narrow_avx512.h"
#    define EDGESPEC_NARROW_ISA "avx512-vnni"
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#    include "narrow_avx2.h"
#    define EDGESPEC_NARROW_ISA "avx2"
#endif

#ifdef _WIN32
#    define EDGESPEC_EXPORT extern "C" __declspec(dllexport)
#else
#    define EDGESPEC_EXPORT extern "C" __attribute__((visibility("default")))
#endif

EDGESPEC_EXPORT const char * edgespec_kernels_version(void);
EDGESPEC_EXPORT const char * edgespec_kernels_isa(void);
extern "C" bool edgespec_extra_compute_forward(ggml_compute_params * params, ggml_tensor * op);
extern "C" bool edgespec_mul_mat_tiled(const ggml_compute_params * params, ggml_tensor * op);

const char * edgespec_kernels_version(void) {
    return EDGESPEC_KERNELS;
}

#ifdef EDGESPEC_NARROW_ISA

namespace {

// ggml's kernel for one row is as fast as memory is; from 17 rows on its tiled kernels win.
constexpr int64_t LEAST_ROWS = 1;
constexpr int64_t MOST_ROWS = 16;
// Enough for the threads to share evenly when one of them is held up.
constexpr int64_t CHUNKS_PER_THREAD = 8;

bool is_switched_on() {
    static const bool on = [] {
        const char * value = std::getenv("EDGESPEC_KERNELS");
        return value == nullptr || std::strcmp(value, "0") != 0;
    }();
    return on;
}

bool is_narrow(const ggml_compute_params * params, const ggml_tensor * op) {
    const ggml_tensor * weights = op->src[0];
    const ggml_tensor * rows = op->src[1];
    return is_switched_on() && !params->use_ref && rows->type == GGML_TYPE_F32 && rows->ne[1] >= LEAST_ROWS &&
           rows->ne[1] <= MOST_ROWS && ggml_is_matrix(weights) && ggml_is_matrix(rows) &&
           rows->nb[0] == sizeof(float) && op->nb[0] == sizeof(float) && weights->ne[0] % QK_K == 0 &&
           params->wsize >= ggml_row_size(GGML_TYPE_Q8_K, ggml_nelements(rows));
}

// Quantizes the rows to Q8_K in the work buffer, each thread its share, and waits for all.
narrow::Rows quantize_rows(const ggml_compute_params * params, const ggml_tensor * op, bool fold_sums) {
    const ggml_tensor * source = op->src[1];
    const int64_t blocks = source->ne[0] / QK_K;
    auto * quantized = static_cast<block_q8_K *>(params->wdata);
    const ggml_from_float_t from_float = ggml_get_type_traits_cpu(GGML_TYPE_Q8_K)->from_float;
    for (int64_t i = params->ith; i < blocks * source->ne[1]; i += params->nth) {
        const char * row = static_cast<const char *>(source->data) + (i / blocks) * source->nb[1];
        block_q8_K & out = quantized[i];
        from_float(reinterpret_cast<const float *>(row) + (i % blocks) * QK_K, &out, QK_K);
        // Sub-blocks of Q4_K have 32 values: the sums of 16 are added up by twos, in the first half of their place.
        for (int sub = 0; fold_sums && sub < QK_K / 32; sub++) {
            out.bsums[sub] = static_cast<int16_t>(out.bsums[2 * sub] + out.bsums[2 * sub + 1]);
        }
    }
    if (params->ith == 0) {
        ggml_threadpool_chunk_set(params->threadpool, params->nth);
    }
    ggml_barrier(params->threadpool);
    return {quantized, blocks, source->ne[1]};
}

// Calls work(from, to) with parts of 0..units until all threads together have done them all.
template <typename Work>
void share(const ggml_compute_params * params, int64_t units, const Work & work) {
    const int64_t chunks = std::min<int64_t>(units, params->nth * CHUNKS_PER_THREAD);
    for (int64_t i = params->ith; i < chunks; i = ggml_threadpool_chunk_add(params->threadpool, 1)) {
        work(units * i / chunks, units * (i + 1) / chunks);
    }
}

// Calls run.template operator()<N>(first) for consecutive groups of N rows, as equal as can be.
template <typename Run>
void by_row_groups(int64_t rows, const Run & run) {
    const int64_t groups = (rows + narrow::MOST_AT_ONCE - 1) / narrow::MOST_AT_ONCE;
    for (int64_t group = 0; group < groups; group++) {
        const int64_t first = rows * group / groups;
        switch (rows * (group + 1) / groups - first) {
            case 1: run(std::integral_constant<int, 1>{}, first); break;
            case 2: run(std::integral_constant<int, 2>{}, first); break;
            case 3: run(std::integral_constant<int, 3>{}, first); break;
            case 4: run(std::integral_constant<int, 4>{}, first); break;
            case 5: run(std::integral_constant<int, 5>{}, first); break;
            case 6: run(std::integral_constant<int, 6>{}, first); break;
            case 7: run(std::integral_constant<int, 7>{}, first); break;
            default: run(std::integral_constant<int, 8>{}, first); break;
        }
    }
}

// Q4_K as ggml's repack buffer holds it: eight rows of the matrix side by side.
void multiply_q4_k(const ggml_compute_params * params, ggml_tensor * op) {
    const narrow::Rows rows = quantize_rows(params, op, true);
    const auto * weights = static_cast<const block_q4_Kx8 *>(op->src[0]->data);
    const int64_t stride = op->nb[1] / sizeof(float);
    share(params, op->src[0]->ne[1] / 8, [&](int64_t from, int64_t to) {
        for (int64_t eight = from; eight < to; eight++) {
            by_row_groups(rows.count, [&](auto n, int64_t first) {
                float * out = static_cast<float *>(op->data) + first * stride + 8 * eight;
                narrow::q4_k<n()>(weights + eight * rows.blocks, rows, first, out, stride);
            });
        }
    });
}

void multiply_q6_k(const ggml_compute_params * params, ggml_tensor * op) {
    const narrow::Rows rows = quantize_rows(params, op, false);
    const auto * weights = static_cast<const char *>(op->src[0]->data);
    const int64_t stride = op->nb[1] / sizeof(float);
    share(params, op->src[0]->ne[1], [&](int64_t from, int64_t to) {
        for (int64_t line = from; line < to; line++) {
            const auto * blocks = reinterpret_cast<const block_q6_K *>(weights + line * op->src[0]->nb[1]);
            by_row_groups(rows.count, [&](auto n, int64_t first) {
                float * out = static_cast<float *>(op->data) + first * stride + line;
                narrow::q6_k<n()>(blocks, rows, first, out, stride);
            });
        }
    });
}

}  // namespace

const char * edgespec_kernels_isa(void) {
    return is_switched_on() ? EDGESPEC_NARROW_ISA : "";
}

bool edgespec_extra_compute_forward(ggml_compute_params * params, ggml_tensor * op) {
    const ggml_tensor * weights = op->src[0];
    if (op->op == GGML_OP_MUL_MAT && weights->type == GGML_TYPE_Q4_K && weights->extra != nullptr &&
        weights->buffer != nullptr && weights->buffer->buft == ggml_backend_cpu_repack_buffer_type() &&
        is_narrow(params, op)) {
        multiply_q4_k(params, op);
        return true;
    }
    return ggml_cpu_extra_compute_forward(params, op);
}

bool edgespec_mul_mat_tiled(const ggml_compute_params * params, ggml_tensor * op) {
    if (op->src[0]->type == GGML_TYPE_Q6_K && op->src[0]->extra == nullptr && is_narrow(params, op)) {
        multiply_q6_k(params, op);
        return true;
    }
    return ggml_compute_forward_mul_mat_tiled(params, op);
}

#else

const char * edgespec_kernels_isa(void) {
    return "";
}

bool edgespec_extra_compute_forward(ggml_compute_params * params, ggml_tensor * op) {
    return ggml_cpu_extra_compute_forward(params, op);
}

bool edgespec_mul_mat_tiled(const ggml_compute_params * params, ggml_tensor * op) {
    return ggml_compute_forward_mul_mat_tiled(params, op);
}

#endif

// Products of a weight matrix with one or more rows, above all with the few of a verification in speculative decoding.
//
// ggml's own kernels multiply one row fast, and many rows fast, but between them mostly repeat the work of one: with Q4_K,
// Q4_0, Q4_1 and Q6_K weights four rows cost two to three times as much. Here a block of weights is unpacked once for all rows.
// The integer parts are those of ggml's kernels; only the order of the float sums differs, and it is the same for a row in
// every batch. Attention of a few rows over a cache in half precision is here for the same reason.
//
// Called by every thread of ggml's pool in place of the two functions that ggml-cpu.c asks first (few_rows.cmake).
// EDGESPEC_KERNELS=0 in the environment switches it off, to compare.

#include "common.h"
#include "ggml-backend-impl.h"
#include "ggml-cpu-impl.h"
#include "ggml-cpu.h"
#include "repack.h"
#include "tiled/tiled.h"
#include "traits.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <vector>

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#    include "few_rows_avx512.h"
#    define EDGESPEC_KERNELS_ISA "avx512-vnni"
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#    include "few_rows_avx2.h"
#    define EDGESPEC_KERNELS_ISA "avx2"
#endif

#ifdef EDGESPEC_KERNELS_ISA
#    include "attention.h"
#    include "few_rows_q4_1.h"
#endif

#ifdef _WIN32
#    define EDGESPEC_EXPORT extern "C" __declspec(dllexport)
#else
#    define EDGESPEC_EXPORT extern "C" __attribute__((visibility("default")))
#endif

EDGESPEC_EXPORT const char * edgespec_kernels_version(void);
EDGESPEC_EXPORT const char * edgespec_kernels_isa(void);
EDGESPEC_EXPORT void edgespec_kernels_switch(bool on);
EDGESPEC_EXPORT void edgespec_shortlist(const int32_t * eights, int64_t count);
extern "C" bool edgespec_extra_compute_forward(ggml_compute_params * params, ggml_tensor * op);
extern "C" bool edgespec_mul_mat_tiled(const ggml_compute_params * params, ggml_tensor * op);

const char * edgespec_kernels_version(void) {
    return EDGESPEC_KERNELS;
}

#ifdef EDGESPEC_KERNELS_ISA

namespace {

// Prompts are multiplied in tiles: this many rows by weights that the nearest caches hold meanwhile.
constexpr int64_t TILE_ROWS = 32;
constexpr size_t TILE_BYTES = 128 * 1024;
// Of a thread's share of a product, and of them those that no other thread takes over when this one is held up.
constexpr int PARTS = 8, FIXED_PARTS = 6;

// The rows of the output matrix that are computed, in eights and in ascending order; null for all of them.
struct Shortlist {
    const int32_t * eights;
    int64_t count;
};
// Of the passes that this thread asks for: other contexts may be computed in other threads at the same time.
thread_local Shortlist shortlist = {nullptr, 0};

// Where the thread that asked for a pass tells the others of its pool: at the end of the work buffer, which ggml makes longer
// by a cache line for each thread than a product needs (ggml_graph_plan).
char * shared_place(const ggml_compute_params * params) {
    return static_cast<char *>(params->wdata) + params->wsize - sizeof(Shortlist);
}

bool is_wanted_by_user() {
    const char * value = std::getenv("EDGESPEC_KERNELS");
    return value == nullptr || std::strcmp(value, "0") != 0;
}

bool switched_on = true;

bool is_switched_on() {
    static const bool wanted = is_wanted_by_user();
    return wanted && switched_on;
}

// Whether a product is one of a matrix with rows that can be quantized to `row_type` here.
bool can_multiply(const ggml_compute_params * params, const ggml_tensor * op, ggml_type row_type) {
    const ggml_tensor * weights = op->src[0];
    const ggml_tensor * rows = op->src[1];
    return is_switched_on() && !params->use_ref && rows->type == GGML_TYPE_F32 && ggml_is_matrix(weights) && ggml_is_matrix(rows) &&
           rows->nb[0] == sizeof(float) && op->nb[0] == sizeof(float) &&
           weights->ne[0] % ggml_blck_size(row_type) == 0 &&
           params->wsize >= ggml_row_size(row_type, ggml_nelements(rows)) + sizeof(Shortlist);
}

// Quantizes the rows to blocks in the work buffer, each thread its share, and waits for all. finish(block) follows each.
template <typename Block, typename Finish>
const Block * quantize_rows(
    const ggml_compute_params * params, const ggml_tensor * op, ggml_type type, const Finish & finish) {
    const ggml_tensor * source = op->src[1];
    const int64_t size = ggml_blck_size(type), blocks = source->ne[0] / size;
    auto * quantized = static_cast<Block *>(params->wdata);
    const ggml_from_float_t from_float = ggml_get_type_traits_cpu(type)->from_float;
    for (int64_t i = params->ith; i < blocks * source->ne[1]; i += params->nth) {
        const char * row = static_cast<const char *>(source->data) + (i / blocks) * source->nb[1];
        from_float(reinterpret_cast<const float *>(row) + (i % blocks) * size, quantized + i, size);
        finish(quantized[i]);
    }
    if (params->ith == 0) {
        // ggml computes in the thread that called llama_decode, and that is its number 0.
        std::memcpy(shared_place(params), &shortlist, sizeof shortlist);
        ggml_threadpool_chunk_set(params->threadpool, params->nth);
    }
    ggml_barrier(params->threadpool);
    return quantized;
}

few_rows::Rows quantize_to_q8_k(const ggml_compute_params * params, const ggml_tensor * op, bool sums_of_32) {
    const auto * data = quantize_rows<block_q8_K>(params, op, GGML_TYPE_Q8_K, [&](block_q8_K & block) {
        // Sub-blocks of Q4_K have 32 values: the sums of 16 are added up by twos, in the first half of their place.
        for (int sub = 0; sums_of_32 && sub < QK_K / 32; sub++) {
            block.bsums[sub] = static_cast<int16_t>(block.bsums[2 * sub] + block.bsums[2 * sub + 1]);
        }
    });
    return {data, op->src[1]->ne[0] / QK_K, op->src[1]->ne[1]};
}

// The scales stay valid until this thread's next call. Each thread makes all of them: they have no place in the buffer.
few_rows::SmallRows quantize_to_q8_0(const ggml_compute_params * params, const ggml_tensor * op) {
    const auto * data = quantize_rows<block_q8_0>(params, op, GGML_TYPE_Q8_0, [](block_q8_0 &) {});
    static thread_local std::vector<few_rows::Scale> scales;
    const int64_t blocks = op->src[1]->ne[0] / QK8_0, count = op->src[1]->ne[1];
    scales.resize(static_cast<size_t>(blocks * count));
    for (size_t i = 0; i < scales.size(); i++) {
        int32_t sum = 0;
        for (int k = 0; k < QK8_0; k++) {
            sum += data[i].qs[k];
        }
        scales[i] = {GGML_CPU_FP16_TO_FP32(data[i].d), sum};
    }
    return {data, scales.data(), blocks, count};
}

// As with quantize_to_q8_0, each thread makes all scales and sums.
few_rows::RowsWithSums quantize_to_q8_1(const ggml_compute_params * params, const ggml_tensor * op) {
    const auto * data = quantize_rows<block_q8_1>(params, op, GGML_TYPE_Q8_1, [](block_q8_1 &) {});
    static thread_local std::vector<float> scales, sums;
    const int64_t blocks = op->src[1]->ne[0] / QK8_1, count = op->src[1]->ne[1], stride = (blocks + 7) / 8 * 8;
    scales.assign(static_cast<size_t>(stride * count), 0.0f);
    sums.assign(static_cast<size_t>(stride * count), 0.0f);
    for (int64_t row = 0; row < count; row++) {
        for (int64_t b = 0; b < blocks; b++) {
            const __m128 both = few_rows::first_two(data[row * blocks + b]);
            scales[row * stride + b] = _mm_cvtss_f32(both);
            sums[row * stride + b] = _mm_cvtss_f32(_mm_movehdup_ps(both));
        }
    }
    return {data, scales.data(), sums.data(), blocks, stride, count};
}

bool is_repacked(const ggml_tensor * weights) {
    return weights->extra != nullptr && weights->buffer != nullptr &&
           weights->buffer->buft == ggml_backend_cpu_repack_buffer_type();
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

// Calls run(n, row) for consecutive groups of the rows first..first + rows, as equal as can be; n is a constant of the compiler.
template <typename Run>
void by_row_groups(int64_t first, int64_t rows, const Run & run) {
    const int64_t groups = (rows + few_rows::MOST_AT_ONCE - 1) / few_rows::MOST_AT_ONCE;
    for (int64_t group = 0; group < groups; group++) {
        const int64_t from = rows * group / groups, row = first + from;
        switch (rows * (group + 1) / groups - from) {
            case 1: run(std::integral_constant<int, 1>{}, row); break;
            case 2: run(std::integral_constant<int, 2>{}, row); break;
            case 3: run(std::integral_constant<int, 3>{}, row); break;
            case 4: run(std::integral_constant<int, 4>{}, row); break;
            case 5: run(std::integral_constant<int, 5>{}, row); break;
            case 6: run(std::integral_constant<int, 6>{}, row); break;
            case 7: run(std::integral_constant<int, 7>{}, row); break;
            default: run(std::integral_constant<int, 8>{}, row); break;
        }
    }
}

// Calls run(n, unit, row) for the units from..to of `unit_bytes` each with all rows, in tiles.
template <typename Run>
void by_tiles(int64_t from, int64_t to, size_t unit_bytes, int64_t rows, const Run & run) {
    const int64_t at_once = std::max<int64_t>(1, TILE_BYTES / unit_bytes);
    for (int64_t unit = from; unit < to; unit += at_once) {
        const int64_t end = std::min(unit + at_once, to);
        for (int64_t row = 0; row < rows; row += TILE_ROWS) {
            for (int64_t i = unit; i < end; i++) {
                by_row_groups(row, std::min(TILE_ROWS, rows - row), [&](auto n, int64_t first) { run(n, i, first); });
            }
        }
    }
}

// The list for a product, once its rows are quantized; none for another product than that of the logits, and none that goes
// beyond the matrix.
Shortlist list_for(const ggml_compute_params * params, const ggml_tensor * op) {
    Shortlist list;
    std::memcpy(&list, shared_place(params), sizeof list);
    // The name is llama.cpp's, given to the product that makes the logits (llama-graph.h, t_logits).
    const bool is_meant = list.eights != nullptr && std::strcmp(op->name, "result_output") == 0 && list.eights[0] >= 0 &&
                          list.eights[list.count - 1] < op->src[0]->ne[1] / 8;
    return is_meant ? list : Shortlist{nullptr, 0};
}

// Gives the logits of the eights from..to no chance.
void rule_out(ggml_tensor * op, int64_t from, int64_t to) {
    for (int64_t row = 0; row < op->ne[1]; row++) {
        float * out = reinterpret_cast<float *>(static_cast<char *>(op->data) + row * op->nb[1]);
        std::fill(out + 8 * from, out + 8 * to, -INFINITY);
    }
}

// A matrix as ggml's repack buffer holds it, eight rows side by side. kernel(n, blocks of eight rows, first, out, stride).
template <typename Block, typename AnyRows, typename Kernel>
void multiply_eights(const ggml_compute_params * params, ggml_tensor * op, const AnyRows & rows, const Kernel & kernel) {
    const auto * weights = static_cast<const Block *>(op->src[0]->data);
    const int64_t stride = op->nb[1] / sizeof(float), all = op->src[0]->ne[1] / 8;
    const Shortlist list = list_for(params, op);
    const bool is_short = list.eights != nullptr;
    const int64_t wanted = is_short ? list.count : all;
    share(params, wanted, [&](int64_t from, int64_t to) {
        for (int64_t i = from; is_short && i < to; i++) {
            rule_out(op, i == 0 ? 0 : list.eights[i - 1] + 1, list.eights[i]);
        }
        if (is_short && to == wanted) {
            rule_out(op, list.eights[wanted - 1] + 1, all);
        }
        by_tiles(from, to, rows.blocks * sizeof(Block), rows.count, [&](auto n, int64_t i, int64_t first) {
            const int64_t eight = is_short ? list.eights[i] : i;
            float * out = static_cast<float *>(op->data) + first * stride + 8 * eight;
            kernel(n, weights + eight * rows.blocks, first, out, stride);
        });
    });
}

void multiply_q4_k(const ggml_compute_params * params, ggml_tensor * op) {
    const few_rows::Rows rows = quantize_to_q8_k(params, op, true);
    multiply_eights<block_q4_Kx8>(
        params, op, rows, [&](auto n, const block_q4_Kx8 * weights, int64_t first, float * out, int64_t stride) {
            few_rows::q4_k<n()>(weights, rows, first, out, stride);
        });
}

void multiply_q4_0(const ggml_compute_params * params, ggml_tensor * op) {
    const few_rows::SmallRows rows = quantize_to_q8_0(params, op);
    multiply_eights<block_q4_0x8>(
        params, op, rows, [&](auto n, const block_q4_0x8 * weights, int64_t first, float * out, int64_t stride) {
            few_rows::q4_0<n()>(weights, rows, first, out, stride);
        });
}

// A matrix as it is in the file, row after row. kernel(n, blocks of a matrix row, first, out, stride).
template <typename Block, typename AnyRows, typename Kernel>
void multiply_lines(const ggml_compute_params * params, ggml_tensor * op, const AnyRows & rows, const Kernel & kernel) {
    const ggml_tensor * weights = op->src[0];
    const int64_t stride = op->nb[1] / sizeof(float);
    share(params, weights->ne[1], [&](int64_t from, int64_t to) {
        by_tiles(from, to, weights->nb[1], rows.count, [&](auto n, int64_t line, int64_t first) {
            const auto * blocks =
                reinterpret_cast<const Block *>(static_cast<const char *>(weights->data) + line * weights->nb[1]);
            kernel(n, blocks, first, static_cast<float *>(op->data) + first * stride + line, stride);
        });
    });
}

void multiply_q6_k(const ggml_compute_params * params, ggml_tensor * op) {
    const few_rows::Rows rows = quantize_to_q8_k(params, op, false);
    multiply_lines<block_q6_K>(
        params, op, rows, [&](auto n, const block_q6_K * weights, int64_t first, float * out, int64_t stride) {
            few_rows::q6_k<n()>(weights, rows, first, out, stride);
        });
}

void multiply_q4_1(const ggml_compute_params * params, ggml_tensor * op) {
    const few_rows::RowsWithSums rows = quantize_to_q8_1(params, op);
    multiply_lines<block_q4_1>(
        params, op, rows, [&](auto n, const block_q4_1 * weights, int64_t first, float * out, int64_t stride) {
            few_rows::q4_1<n()>(weights, rows, first, out, stride);
        });
}

// ggml's own kernel for many rows starts at a tile of them.
bool can_attend(const ggml_compute_params * params, const ggml_tensor * op) {
    return is_switched_on() && !params->use_ref && op->src[0]->ne[1] < GGML_FA_TILE_Q && few_rows::Attention::can(op);
}

void attend(const ggml_compute_params * params, const ggml_tensor * op) {
    static thread_local few_rows::Attention attention;
    attention.attend_part(op, params->ith, params->nth);
}

}  // namespace

const char * edgespec_kernels_isa(void) {
    return is_switched_on() ? EDGESPEC_KERNELS_ISA : "";
}

void edgespec_kernels_switch(bool on) {
    switched_on = on;
}

void edgespec_shortlist(const int32_t * eights, int64_t count) {
    shortlist = {count > 0 ? eights : nullptr, count};
}

bool edgespec_extra_compute_forward(ggml_compute_params * params, ggml_tensor * op) {
    if (op->op == GGML_OP_MUL_MAT && is_repacked(op->src[0])) {
        if (op->src[0]->type == GGML_TYPE_Q4_K && can_multiply(params, op, GGML_TYPE_Q8_K)) {
            multiply_q4_k(params, op);
            return true;
        }
        if (op->src[0]->type == GGML_TYPE_Q4_0 && can_multiply(params, op, GGML_TYPE_Q8_0)) {
            multiply_q4_0(params, op);
            return true;
        }
    }
    if (op->op == GGML_OP_FLASH_ATTN_EXT && can_attend(params, op)) {
        attend(params, op);
        return true;
    }
    return ggml_cpu_extra_compute_forward(params, op);
}

bool edgespec_mul_mat_tiled(const ggml_compute_params * params, ggml_tensor * op) {
    if (op->src[0]->extra == nullptr) {
        if (op->src[0]->type == GGML_TYPE_Q6_K && can_multiply(params, op, GGML_TYPE_Q8_K)) {
            multiply_q6_k(params, op);
            return true;
        }
        if (op->src[0]->type == GGML_TYPE_Q4_1 && can_multiply(params, op, GGML_TYPE_Q8_1)) {
            multiply_q4_1(params, op);
            return true;
        }
    }
    return ggml_compute_forward_mul_mat_tiled(params, op);
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

bool edgespec_mul_mat_tiled(const ggml_compute_params * params, ggml_tensor * op) {
    return ggml_compute_forward_mul_mat_tiled(params, op);
}

#endif

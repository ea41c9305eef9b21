// Q4_1 for both instruction sets: ggml repeats the work of one row for each, and has nothing faster for prompts.

#pragma once

namespace few_rows {

// out[r * stride]: one matrix row times row `first + r`, r < N.
template <int N>
void q4_1(const block_q4_1 * weights, const RowsWithSums & rows, int64_t first, float * out, int64_t stride) {
    const __m256i low_four = _mm256_set1_epi8(0x0f);
    __m256 sums[N], minima[N];
    for (int r = 0; r < N; r++) {
        sums[r] = minima[r] = _mm256_setzero_ps();
    }
    for (int64_t eight = 0; eight < rows.blocks; eight += 8) {
        struct Eight {
            block_q4_1 blocks[8];
        };
        prefetch_after<N>(reinterpret_cast<const Eight &>(weights[eight]));
        alignas(32) float lowest[8] = {};
        const int64_t end = std::min(rows.blocks, eight + 8);
        for (int64_t b = eight; b < end; b++) {
            const block_q4_1 & block = weights[b];
            const __m128 scale_and_lowest = first_two(block);
            const float d = _mm_cvtss_f32(scale_and_lowest);
            lowest[b - eight] = _mm_cvtss_f32(_mm_movehdup_ps(scale_and_lowest));
            const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(block.qs));
            const __m256i unpacked = _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(bytes, 4), bytes), low_four);
            for (int r = 0; r < N; r++) {
                const auto * values = reinterpret_cast<const __m256i *>(rows.values(first + r, b));
                const __m256i dot = dot_by_four(unpacked, _mm256_loadu_si256(values));
                const __m256 scale = _mm256_set1_ps(d * rows.scales[(first + r) * rows.stride + b]);
                sums[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, sums[r]);
            }
        }
        for (int r = 0; r < N; r++) {
            const __m256 of_row = _mm256_loadu_ps(rows.sums + (first + r) * rows.stride + eight);
            minima[r] = _mm256_fmadd_ps(_mm256_load_ps(lowest), of_row, minima[r]);
        }
    }
    for (int r = 0; r < N; r++) {
        out[r * stride] = add_lanes(_mm256_add_ps(sums[r], minima[r]));
    }
}

}  // namespace few_rows

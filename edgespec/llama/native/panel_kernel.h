// What products with panels have in common: their shape, and the kernel for a group of rows.

#pragma once

#include "quantize.h"

namespace few_rows {

template <typename Type>
using PanelKernel = void (*)(const typename Type::Panel *, const void *, int64_t, float *, int64_t, int64_t);

// Of one row.
template <typename Type>
int64_t blocks_of(const ggml_tensor * weights) {
    return weights->ne[0] / Type::VALUES;
}

// Of one matrix, the last one filled up.
inline int64_t panels_of(const ggml_tensor * weights) {
    return (weights->ne[1] + PANEL_ROWS - 1) / PANEL_ROWS;
}

// For a group of `n` rows.
template <typename Type>
PanelKernel<Type> kernel_for(int64_t n) {
    static constexpr PanelKernel<Type> all[] = {
        multiply_panel<Type, 1>, multiply_panel<Type, 2>, multiply_panel<Type, 3>, multiply_panel<Type, 4>,
#if defined(__AVX512F__)
        multiply_panel<Type, 5>, multiply_panel<Type, 6>, multiply_panel<Type, 7>, multiply_panel<Type, 8>,
#endif
    };
    static_assert(sizeof all / sizeof *all == MOST_ROWS);
    return all[n - 1];
}

}  // namespace few_rows

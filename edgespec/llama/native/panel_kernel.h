// What products with panels have in common: their shape, and the kernel for a group of rows.

#pragma once

#include "quantize.h"

#include <array>
#include <utility>

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

template <typename Type, size_t... I>
constexpr std::array<PanelKernel<Type>, sizeof...(I)> kernels(std::index_sequence<I...>) {
    return {multiply_panel<Type, I + 1>...};
}

// For a group of `n` rows.
template <typename Type>
PanelKernel<Type> kernel_for(int64_t n) {
    static constexpr auto all = kernels<Type>(std::make_index_sequence<MOST_ROWS>());
    return all[n - 1];
}

}  // namespace few_rows

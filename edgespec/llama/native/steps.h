// One step of a pass: a node, or several that threads go through without meeting in between.

#pragma once

#include "attention.h"
#include "binary-ops.h"
#include "ops.h"
#include "products.h"

namespace few_rows {

// The matrix in panels that a node multiplies with; null for all other nodes.
AnyPanelMatrix * panels_of_product(const ggml_tensor * op);

void attend(const ggml_compute_params * params, const ggml_tensor * op);
bool can_attend(const ggml_tensor * op);

using NodeFunction = void (*)(const ggml_compute_params *, ggml_tensor *);

inline void multiply_node(const ggml_compute_params * params, ggml_tensor * op) {
    ggml_compute_params own = *params;
    panels_of_product(op)->compute_forward(&own, op);
}

inline void attend_node(const ggml_compute_params * params, ggml_tensor * op) {
    attend(params, op);
}

inline bool has_floats(const ggml_tensor * tensor) {
    return tensor->type == GGML_TYPE_F32;
}

inline bool is_plain(const ggml_tensor * tensor) {
    return has_floats(tensor) || tensor->type == GGML_TYPE_F16;
}

// What computes a node that is no norm; null for those that are left to ggml.
inline NodeFunction function_of(const ggml_tensor * op) {
    const ggml_tensor *a = op->src[0], *b = op->src[1];
    switch (op->op) {
        case GGML_OP_MUL_MAT:
        case GGML_OP_MUL_MAT_ID: return panels_of_product(op) ? multiply_node : nullptr;
        case GGML_OP_FLASH_ATTN_EXT: return can_attend(op) ? attend_node : nullptr;
        case GGML_OP_ADD: return has_floats(op) && has_floats(a) && has_floats(b) ? ggml_compute_forward_add : nullptr;
        case GGML_OP_MUL: return has_floats(op) && has_floats(a) && has_floats(b) ? ggml_compute_forward_mul : nullptr;
        case GGML_OP_SCALE: return ggml_compute_forward_scale;
        case GGML_OP_ROPE: return ggml_compute_forward_rope;
        case GGML_OP_GLU: return ggml_compute_forward_glu;
        case GGML_OP_GET_ROWS: return ggml_compute_forward_get_rows;
        case GGML_OP_SET_ROWS: return has_floats(a) ? ggml_compute_forward_set_rows : nullptr;
        case GGML_OP_CONT: return is_plain(op) && is_plain(a) ? ggml_compute_forward_cont : nullptr;
        case GGML_OP_CPY: return is_plain(op) && is_plain(a) ? ggml_compute_forward_cpy : nullptr;
        default: return nullptr;
    }
}

struct Step {
    enum Kind { NODE, NORM, PRODUCTS } kind;
    ggml_tensor * node;  // The first one.
    NodeFunction function = nullptr;
    Norm norm;
    Products products;
    // Whether all threads have to be done with all steps before.
    bool meets = false;

    void run(const ggml_compute_params * params) const {
        switch (kind) {
            case NODE: function(params, node); break;
            case NORM: run_norm(params); break;
            case PRODUCTS: products.run(params); break;
        }
    }

    // Before it waits for the others.
    void prepare(const ggml_compute_params * params) const {
        if (kind == PRODUCTS) {
            products.ask_for_weights(params->ith, params->nth);
        }
    }

private:
    void run_norm(const ggml_compute_params * params) const {
        const int64_t rows = ggml_nrows(norm.norm);
        for (int64_t i = params->ith; i < rows; i += params->nth) {
            norm.apply(row_at(norm.rows(), i), row_at(norm.result(), i));
        }
    }
};

}  // namespace few_rows

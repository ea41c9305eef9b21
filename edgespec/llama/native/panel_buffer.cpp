// The buffer type that llama.cpp loads weights into for the CPU, in the place of ggml's own for repacked matrices.
//
// Matrices of a type with a kernel here are laid out in panels (panels.h); everything else is left to ggml's repack, whose
// functions are asked with the same tensors. ggml-cpu.cpp asks for this type through a name that few_rows.cmake changes.

#include "isa.h"

#ifdef EDGESPEC_KERNELS_ISA
#    include "panel_matrix.h"
#    include "panel_types_float.h"
#    include "panel_types_k.h"
#    include "steps.h"
#endif

#include "repack.h"

extern "C++" ggml_backend_buffer_type_t edgespec_buffer_type(void);

#ifdef EDGESPEC_KERNELS_ISA

namespace {

using few_rows::AnyPanelMatrix;

template <typename Type>
AnyPanelMatrix * matrix_of() {
    static few_rows::PanelMatrix<Type> matrix;
    return &matrix;
}

AnyPanelMatrix * matrix_for(ggml_type type) {
    switch (type) {
        case GGML_TYPE_Q4_0: return matrix_of<few_rows::Q4_0>();
        case GGML_TYPE_Q4_1: return matrix_of<few_rows::Q4_1>();
        case GGML_TYPE_Q5_0: return matrix_of<few_rows::Q5_0>();
        case GGML_TYPE_Q5_1: return matrix_of<few_rows::Q5_1>();
        case GGML_TYPE_Q8_0: return matrix_of<few_rows::Q8_0>();
        case GGML_TYPE_IQ4_NL: return matrix_of<few_rows::IQ4_NL>();
        case GGML_TYPE_MXFP4: return matrix_of<few_rows::MXFP4>();
        case GGML_TYPE_Q2_K: return matrix_of<few_rows::Q2_K>();
        case GGML_TYPE_Q3_K: return matrix_of<few_rows::Q3_K>();
        case GGML_TYPE_Q4_K: return matrix_of<few_rows::Q4_K>();
        case GGML_TYPE_Q5_K: return matrix_of<few_rows::Q5_K>();
        case GGML_TYPE_Q6_K: return matrix_of<few_rows::Q6_K>();
        case GGML_TYPE_IQ4_XS: return matrix_of<few_rows::IQ4_XS>();
        case GGML_TYPE_F16: return matrix_of<few_rows::F16>();
        case GGML_TYPE_BF16: return matrix_of<few_rows::BF16>();
        default: return nullptr;
    }
}

// Of a tensor that is not laid out yet. Once it is, its `extra` says how.
AnyPanelMatrix * matrix_for(const ggml_tensor * weights) {
    const int dims = ggml_n_dims(weights);
    const bool fits = (dims == 2 || dims == 3) && weights->ne[0] % few_rows::QUANTIZED == 0;
    return few_rows::is_switched_on() && fits ? matrix_for(weights->type) : nullptr;
}

// Whether `extra` is a matrix of ours, and not one of ggml's.
AnyPanelMatrix * matrix_in(const ggml_tensor * weights) {
    AnyPanelMatrix * ours = weights->extra ? matrix_for(weights->type) : nullptr;
    return weights->extra == static_cast<ggml::cpu::tensor_traits *>(ours) ? ours : nullptr;
}

// A buffer of ggml's type, for its functions; an empty one would have none.
ggml_backend_buffer_t ggmls() {
    static ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(ggml_backend_cpu_repack_buffer_type(), 1);
    return buffer;
}

ggml_status init_tensor(ggml_backend_buffer_t buffer, ggml_tensor * tensor) {
    if (AnyPanelMatrix * ours = matrix_for(tensor)) {
        tensor->extra = static_cast<ggml::cpu::tensor_traits *>(ours);
        return GGML_STATUS_SUCCESS;
    }
    return ggmls()->iface.init_tensor(buffer, tensor);
}

void set_tensor(ggml_backend_buffer_t buffer, ggml_tensor * tensor, const void * data, size_t offset, size_t size) {
    if (const AnyPanelMatrix * ours = matrix_in(tensor)) {
        GGML_ASSERT(offset == 0 && size == ggml_nbytes(tensor));
        ours->pack(tensor, data);
        return;
    }
    ggmls()->iface.set_tensor(buffer, tensor, data, offset, size);
}

const char * get_name(ggml_backend_buffer_type_t) {
    return "CPU_REPACK";
}

ggml_backend_buffer_t alloc_buffer(ggml_backend_buffer_type_t type, size_t size) {
    ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(ggml_backend_cpu_repack_buffer_type(), size);
    if (buffer != nullptr) {
        buffer->buft = type;
        buffer->iface.init_tensor = init_tensor;
        buffer->iface.set_tensor = set_tensor;
    }
    return buffer;
}

size_t get_alignment(ggml_backend_buffer_type_t) {
    return ggml_backend_buft_get_alignment(ggml_backend_cpu_repack_buffer_type());
}

size_t get_alloc_size(ggml_backend_buffer_type_t, const ggml_tensor * tensor) {
    const AnyPanelMatrix * ours = matrix_for(tensor);
    return ours ? std::max(ours->bytes(tensor), ggml_nbytes(tensor)) : ggml_nbytes(tensor);
}

bool is_in_our_buffer(const ggml_tensor * weights) {
    return weights != nullptr && weights->buffer != nullptr && weights->buffer->buft == edgespec_buffer_type();
}

class ExtraBufferType : public ggml::cpu::extra_buffer_type {
    bool supports_op(ggml_backend_dev_t, const ggml_tensor * op) override {
        const ggml_tensor *weights = op->src[0], *rows = op->src[1];
        const int dims = op->op == GGML_OP_MUL_MAT ? 2 : op->op == GGML_OP_MUL_MAT_ID ? 3 : 0;
        if (dims == 0 || !is_in_our_buffer(weights) || ggml_n_dims(weights) != dims || rows->type != GGML_TYPE_F32 ||
            (rows->buffer && !ggml_backend_buft_is_host(rows->buffer->buft))) {
            return false;
        }
        // Before it is loaded, a tensor has no `extra`.
        ggml_tensor probe = *weights;
        return probe.extra != nullptr || (init_tensor(weights->buffer, &probe) == GGML_STATUS_SUCCESS && probe.extra != nullptr);
    }

    ggml::cpu::tensor_traits * get_tensor_traits(const ggml_tensor * op) override {
        const bool is_product = op->op == GGML_OP_MUL_MAT || op->op == GGML_OP_MUL_MAT_ID;
        return is_product && is_in_our_buffer(op->src[0]) ? static_cast<ggml::cpu::tensor_traits *>(op->src[0]->extra) : nullptr;
    }
};

}  // namespace

AnyPanelMatrix * few_rows::panels_of_product(const ggml_tensor * op) {
    const int dims = op->op == GGML_OP_MUL_MAT ? 2 : op->op == GGML_OP_MUL_MAT_ID ? 3 : 0;
    return dims != 0 && is_in_our_buffer(op->src[0]) ? matrix_in(op->src[0]) : nullptr;
}

ggml_backend_buffer_type_t edgespec_buffer_type(void) {
    static ggml_backend_buffer_type type = {
        {get_name, alloc_buffer, get_alignment, nullptr, get_alloc_size, nullptr},
        ggml_backend_reg_dev_get(ggml_backend_cpu_reg(), 0),
        new ExtraBufferType(),
    };
    return &type;
}

#else

ggml_backend_buffer_type_t edgespec_buffer_type(void) {
    return ggml_backend_cpu_repack_buffer_type();
}

#endif

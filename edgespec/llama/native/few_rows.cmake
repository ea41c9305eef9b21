# Adds edgespec's kernels for products of a few rows to ggml's CPU backend. Included by scripts/llama-build.cmake.
#
# ggml offers no way to add a kernel from outside, so the two calls in ggml-cpu.c that choose one are renamed: they come to
# few_rows.cpp first, which passes on what it does not do itself. Nothing of llama.cpp's own sources is changed.
# EDGESPEC_KERNELS names the version, which few_rows.cpp reports; empty leaves them out.

set(EDGESPEC_FEW_ROWS_SOURCE "${CMAKE_CURRENT_LIST_DIR}/few_rows.cpp")

function(edgespec_add_few_row_kernels)
    if(NOT TARGET ggml-cpu OR CMAKE_VERSION VERSION_LESS 3.19)
        message(WARNING "edgespec: llama.cpp is built without the kernels for verification (needs CMake 3.19)")
        return()
    endif()
    get_target_property(ggml_folder ggml-cpu SOURCE_DIR)
    target_sources(ggml-cpu PRIVATE "${EDGESPEC_FEW_ROWS_SOURCE}")
    set_property(SOURCE "${EDGESPEC_FEW_ROWS_SOURCE}" TARGET_DIRECTORY ggml-cpu
        APPEND PROPERTY COMPILE_DEFINITIONS "EDGESPEC_KERNELS=\"${EDGESPEC_KERNELS}\"")
    set_property(SOURCE "${ggml_folder}/ggml-cpu/ggml-cpu.c" TARGET_DIRECTORY ggml-cpu
        APPEND PROPERTY COMPILE_DEFINITIONS
        "ggml_cpu_extra_compute_forward=edgespec_extra_compute_forward"
        "ggml_compute_forward_mul_mat_tiled=edgespec_mul_mat_tiled")
endfunction()

if(EDGESPEC_KERNELS)
    cmake_language(DEFER CALL edgespec_add_few_row_kernels)
endif()

# Adds edgespec's kernels for products of a few rows to ggml's CPU backend. Included by scripts/llama-build.cmake.
#
# ggml offers no way to add a kernel from outside, so the two calls in ggml-cpu.c that choose one are renamed: they come to
# narrow.cpp first, which passes on what it does not do itself. Nothing of llama.cpp's own sources is changed.
# EDGESPEC_KERNELS names the version, which narrow.cpp reports; empty leaves them out.

set(EDGESPEC_NARROW_SOURCE "${CMAKE_CURRENT_LIST_DIR}/narrow.cpp")

function(edgespec_add_narrow_kernels)
    if(NOT TARGET ggml-cpu OR CMAKE_VERSION VERSION_LESS 3.19)
        message(WARNING "edgespec: llama.cpp is built without the kernels for verification (needs CMake 3.19)")
        return()
    endif()
    get_target_property(ggml_folder ggml-cpu SOURCE_DIR)
    target_sources(ggml-cpu PRIVATE "${EDGESPEC_NARROW_SOURCE}")
    set_property(SOURCE "${EDGESPEC_NARROW_SOURCE}" TARGET_DIRECTORY ggml-cpu
        APPEND PROPERTY COMPILE_DEFINITIONS "EDGESPEC_KERNELS=\"${EDGESPEC_KERNELS}\"")
    set_property(SOURCE "${ggml_folder}/ggml-cpu/ggml-cpu.c" TARGET_DIRECTORY ggml-cpu
        APPEND PROPERTY COMPILE_DEFINITIONS
        "ggml_cpu_extra_compute_forward=edgespec_extra_compute_forward"
        "ggml_compute_forward_mul_mat_tiled=edgespec_mul_mat_tiled")
endfunction()

if(EDGESPEC_KERNELS)
    cmake_language(DEFER CALL edgespec_add_narrow_kernels)
endif()

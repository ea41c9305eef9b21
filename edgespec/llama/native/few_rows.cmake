# Adds edgespec's kernels for products of a few rows to ggml's CPU backend. Included by scripts/llama-build.cmake.
#
# ggml offers no way to add a kernel from outside, so calls are renamed, and come to edgespec's sources first, which pass on what
# they do not do themselves: the one in ggml-cpu.c that chooses a kernel, those in ggml-cpu.cpp that ask for the buffer type of
# repacked weights and that plan and compute a graph, and the one in ggml-backend.cpp that allocates a buffer. Nothing of llama.cpp's
# own sources is changed.
# EDGESPEC_KERNELS names the version, which few_rows.cpp reports; empty leaves them out.

set(EDGESPEC_NATIVE_FOLDER "${CMAKE_CURRENT_LIST_DIR}")

# ggml's CPU backend: one target, or one for each kind of processor (GGML_CPU_ALL_VARIANTS).
function(edgespec_cpu_targets folder result)
    get_property(targets DIRECTORY "${folder}" PROPERTY BUILDSYSTEM_TARGETS)
    list(FILTER targets INCLUDE REGEX "^ggml-cpu")
    list(FILTER targets EXCLUDE REGEX "-feats$")
    set(${result} "${targets}" PARENT_SCOPE)
endfunction()

function(edgespec_add_few_row_kernels)
    if(NOT TARGET ggml-base OR CMAKE_VERSION VERSION_LESS 3.19)
        message(WARNING "edgespec: llama.cpp is built without the kernels for verification (needs CMake 3.19)")
        return()
    endif()
    get_target_property(ggml_folder ggml-base SOURCE_DIR)
    edgespec_cpu_targets("${ggml_folder}" targets)
    set(sources few_rows.cpp graph.cpp panel_buffer.cpp)
    list(TRANSFORM sources PREPEND "${EDGESPEC_NATIVE_FOLDER}/")
    foreach(target IN LISTS targets)
        target_sources(${target} PRIVATE ${sources})
    endforeach()
    # Of a folder's sources, not of a target's: once for all variants.
    set_property(SOURCE ${sources} TARGET_DIRECTORY ggml-base
        APPEND PROPERTY COMPILE_DEFINITIONS "EDGESPEC_KERNELS=\"${EDGESPEC_KERNELS}\"")
    if(NOT MSVC)
        # Else the compiler joins a product and a sum where it likes to, in one size of batch and not in another.
        set_property(SOURCE ${sources} TARGET_DIRECTORY ggml-base
            APPEND PROPERTY COMPILE_OPTIONS -ffp-contract=off)
    endif()
    set_property(SOURCE "${ggml_folder}/ggml-cpu/ggml-cpu.c" TARGET_DIRECTORY ggml-base
        APPEND PROPERTY COMPILE_DEFINITIONS "ggml_cpu_extra_compute_forward=edgespec_extra_compute_forward")
    set_property(SOURCE "${ggml_folder}/ggml-cpu/ggml-cpu.cpp" TARGET_DIRECTORY ggml-base
        APPEND PROPERTY COMPILE_DEFINITIONS "ggml_backend_cpu_repack_buffer_type=edgespec_buffer_type"
        "ggml_graph_plan=edgespec_graph_plan" "ggml_graph_compute=edgespec_graph_compute")
    target_sources(ggml-base PRIVATE "${EDGESPEC_NATIVE_FOLDER}/large_pages.cpp")
    set_property(SOURCE "${ggml_folder}/ggml-backend.cpp" TARGET_DIRECTORY ggml-base
        APPEND PROPERTY COMPILE_DEFINITIONS "ggml_aligned_malloc=edgespec_aligned_malloc")
endfunction()

if(EDGESPEC_KERNELS)
    cmake_language(DEFER CALL edgespec_add_few_row_kernels)
endif()

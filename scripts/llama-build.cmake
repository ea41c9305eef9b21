# Read by llama-cpp-python's own project (CMAKE_PROJECT_llama_cpp_INCLUDE), before it adds llama.cpp.
#
# llama.cpp's `common` library serves only its own command line tools, and takes about half of the compile time.
# llama-cpp-python forces the cache entry ON; a normal variable of the same name comes before a cache entry
# (policy CMP0126), so this switches the library off without changing the package's sources.
set(LLAMA_BUILD_COMMON OFF)

# AMX, of server processors only, needs leave from the operating system and from every hypervisor below it. Where one
# says yes and the other no, llama.cpp dies at its first multiplication. Without the compiler's own macro ggml leaves
# AMX out and takes AVX-512. EDGESPEC_AMX=ON brings it back.
if(NOT MSVC AND NOT EDGESPEC_AMX)
    add_compile_options(-U__AMX_INT8__)
endif()

include("${CMAKE_CURRENT_LIST_DIR}/../edgespec/llama/native/few_rows.cmake")

# A wheel holds a CPU backend for each kind of processor, of which llama.cpp takes the best when it starts, and llama.cpp's licence.
# On x86 those that EDGESPEC_VARIANTS names are enough: what ggml has between them differs in nothing that its kernels use, and the
# one with AMX is left out as above. The others are built empty, because ggml's own target asks for all of them.
set(EDGESPEC_VARIANTS "" CACHE STRING "Regular expression of the kinds of processors that are built; empty for all of them")

function(edgespec_prepare_wheel)
    install(FILES "${CMAKE_SOURCE_DIR}/vendor/llama.cpp/LICENSE" DESTINATION "${CMAKE_INSTALL_BINDIR}" RENAME LICENSE-llama.cpp)
    get_target_property(ggml_folder ggml-base SOURCE_DIR)
    edgespec_cpu_targets("${ggml_folder}" targets)
    file(WRITE "${CMAKE_BINARY_DIR}/no_variant.cpp" "")
    foreach(target IN LISTS targets)
        string(REPLACE "ggml-cpu-" "" variant "${target}")
        if(EDGESPEC_VARIANTS AND NOT variant MATCHES "${EDGESPEC_VARIANTS}")
            set_target_properties(${target} PROPERTIES SOURCES "${CMAKE_BINARY_DIR}/no_variant.cpp" LINK_LIBRARIES "")
        endif()
        if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
            # Else variables of templates are one for all variants in a process, and hold what the first of them chose.
            target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fno-gnu-unique>)
        endif()
        if(NOT APPLE)
            set_target_properties(${target} PROPERTIES INSTALL_RPATH "$ORIGIN")
        endif()
    endforeach()
endfunction()

if(EDGESPEC_WHEEL)
    cmake_language(DEFER CALL edgespec_prepare_wheel)
endif()

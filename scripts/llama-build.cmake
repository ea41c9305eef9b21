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

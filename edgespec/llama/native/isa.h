// The instruction set that edgespec's kernels use in this build, as a text; undefined where ggml's do all the work.

#pragma once

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#    define EDGESPEC_KERNELS_ISA "avx512-vnni"
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#    define EDGESPEC_KERNELS_ISA "avx2"
#endif

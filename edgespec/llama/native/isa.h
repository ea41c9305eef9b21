// The instruction set that edgespec's kernels use in this build (simd.h), as a text; undefined where ggml's do all the work.

#pragma once

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#    ifdef __AVX512VNNI__
#        define EDGESPEC_KERNELS_ISA "avx512-vnni"
#    else
#        define EDGESPEC_KERNELS_ISA "avx512"
#    endif
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#    ifdef __AVXVNNI__
#        define EDGESPEC_KERNELS_ISA "avx-vnni"
#    else
#        define EDGESPEC_KERNELS_ISA "avx2"
#    endif
#elif defined(__aarch64__) && defined(__ARM_NEON)
#    if defined(__ARM_FEATURE_MATMUL_INT8)
#        define EDGESPEC_KERNELS_ISA "neon-i8mm"
#    elif defined(__ARM_FEATURE_DOTPROD)
#        define EDGESPEC_KERNELS_ISA "neon-dotprod"
#    else
#        define EDGESPEC_KERNELS_ISA "neon"
#    endif
#endif

// Matrix products with what stands around them; gemm.cuh has the equation and the launches. float32 accumulation:
//
//   nl_gemm_f32_T       operands as they are, each sum over k in order, fused
//   nl_gemm_tf32_AB_T   operands rounded to tf32, the nearest and ties away from zero
//   nl_gemm_bf16_AB_T   operands rounded to bfloat16, the nearest even
#include "kernels/gemm/gemm-inl.cuh"

using namespace nested_learning;

// At least two blocks of a multiprocessor's registers.
#define NL_GEMM_EXACT(tile)                                                \
  extern "C" __global__ void __launch_bounds__(GemmThreads(true, tile), 2) \
      nl_gemm_f32_##tile(GemmArguments a) {                                \
    GemmExact<tile>(a);                                                    \
  }                                                                        \
  NL_KERNEL(nl_gemm_f32_##tile)
NL_GEMM_EXACT(128)
NL_GEMM_EXACT(64)

#define NL_GEMM_TENSOR(name, precision, transpose_a, transpose_b, tile)     \
  extern "C" __global__ void __launch_bounds__(GemmThreads(false, tile), 2) \
      nl_gemm_##name##_##tile(GemmArguments a) {                            \
    GemmTensor<Rounding::precision, transpose_a, transpose_b, tile>(a);     \
  }                                                                         \
  NL_KERNEL(nl_gemm_##name##_##tile)
#define NL_GEMM_TENSOR_ALL(name, precision, tile)          \
  NL_GEMM_TENSOR(name##_nn, precision, false, false, tile) \
  NL_GEMM_TENSOR(name##_nt, precision, false, true, tile)  \
  NL_GEMM_TENSOR(name##_tn, precision, true, false, tile)  \
  NL_GEMM_TENSOR(name##_tt, precision, true, true, tile)
NL_GEMM_TENSOR_ALL(tf32, kTf32, 128)
NL_GEMM_TENSOR_ALL(tf32, kTf32, 64)
NL_GEMM_TENSOR_ALL(bf16, kBf16, 128)
NL_GEMM_TENSOR_ALL(bf16, kBf16, 64)

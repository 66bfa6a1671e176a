// Arguments of gemm_adam.cu.
#ifndef NESTED_LEARNING_KERNELS_GEMM_ADAM_GEMM_ADAM_CUH_
#define NESTED_LEARNING_KERNELS_GEMM_ADAM_GEMM_ADAM_CUH_

#include "cuda/cuda.h"
#include "kernels/adam/adam.cuh"

namespace nested_learning {

// The step of a weight whose gradient is xᵀ dy, plus `g` where that is not null; w, m and v are [m, n].
struct GemmAdamArguments {
  const float* x;   // [k, m]
  const float* dy;  // [k, n]
  AdamTensor adam;  // its blocks are not used; `clear` is for its g
  int32_t m, n, k, reserved;
};

// Launch: kernels nl_gemm_adam_P_T with P f32, tf32 or bf16, for tiles of T = 64 or 128 rows and columns, in blocks, threads and
// shared memory as gemm.cuh has for one product that is not symmetric.

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_GEMM_ADAM_GEMM_ADAM_CUH_

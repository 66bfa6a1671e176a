// Arguments of gemm.cu.
#ifndef NESTED_LEARNING_KERNELS_GEMM_GEMM_CUH_
#define NESTED_LEARNING_KERNELS_GEMM_GEMM_CUH_

#include "cuda/cuda.h"

namespace nested_learning {

// As nl_epilogue; gemm_adam.cuh has Adam's.
enum class CudaEpilogue : int32_t { kNone, kGelu, kGeluGradient };

// C = epilogue(scale op(A) op(B) + bias) + residual_scale residual, or that added to C, for each product of a batch.
// Matrices have rows of consecutive elements; op is the transpose where A is stored [k, m], or B [n, k].
struct GemmArguments {
  const float* a;
  const float* b;
  float* c;           // [m, n]
  const float* bias;  // [n], or null
  // [m, n] in rows like c's; GELU's input: written if not null, or read for its gradient
  float* pre_activation;
  const float* residual;  // [m, n] in rows like c's, or null; may be c
  int64_t batch_a;        // elements from one product's A to the next one's
  int64_t batch_b;
  int64_t batch_c;  // of the residual and the pre-activation too
  int32_t m, n, k, batches;
  int32_t row_a;  // elements from one row to the next, as stored
  int32_t row_b;
  int32_t row_c;
  float scale;
  float residual_scale;
  CudaEpilogue epilogue;
  int32_t accumulate;  // not with a residual
  // A promise that C is, with what is added: tiles below the diagonal are mirrored; m = n
  int32_t symmetric;
  int32_t transpose_a;  // of nl_gemm_f32 alone: the others have them in their names
  int32_t transpose_b;
};

// Launch: kernels nl_gemm_f32_T, and nl_gemm_P_AB_T with P tf32 or bf16 and A and B each n or t, for tiles of
// T = 64 or 128 rows and columns.
//
//   grid      batches · tiles;  tiles = ⌈m / T⌉ ⌈n / T⌉, with `symmetric` r (r + 1) / 2 where r = ⌈m / T⌉
//   threads   GemmThreads(exact, T)
//   shared    GemmSharedBytes(exact, T): 64 KiB for the tensor cores' 128, which a driver must be asked for
//
// 128 where its grid fills the device about twice, else 64.
constexpr int GemmThreads(bool exact, int tile) { return exact && tile == 128 ? 256 : 128; }

constexpr int kGemmStages = 4;
// Along k, of a stage.
constexpr int kGemmExactDepth = 8, kGemmTensorDepth = 16;

constexpr int GemmSharedBytes(bool exact, int tile) {
  return exact ? kGemmStages * 2 * kGemmExactDepth * (tile + 4) * 4
               : kGemmStages * 2 * kGemmTensorDepth * tile * 4;
}

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_GEMM_GEMM_CUH_

// Arguments of elementwise.cu. Any grid of one dimension, of blocks of kElementwiseThreads threads, which take elements in
// turns; the sum of squares alone depends on it.
#ifndef NESTED_LEARNING_KERNELS_ELEMENTWISE_ELEMENTWISE_CUH_
#define NESTED_LEARNING_KERNELS_ELEMENTWISE_ELEMENTWISE_CUH_

#include "cuda/cuda.h"

namespace nested_learning {

constexpr int kElementwiseThreads = 256;

// As nl_activation.
enum class CudaActivation : int32_t { kSigmoid, kSoftplus, kLogSigmoid, kGelu };

struct ElementwiseArguments {
  float* x;
  float* y;
  float* z;
  int64_t count;
  float factor;
  CudaActivation function;
};

struct SumArguments {
  const float* x;
  double* parts;   // [blocks of nl_sum_of_squares]
  double* result;  // [1]
  int64_t count;   // of x, or of parts
};

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_ELEMENTWISE_ELEMENTWISE_CUH_

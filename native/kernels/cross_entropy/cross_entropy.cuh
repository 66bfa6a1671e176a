// Arguments of cross_entropy.cu. Blocks are of kCrossEntropyThreads threads and take rows in turns, so that any grid of one
// dimension is right.
#ifndef NESTED_LEARNING_KERNELS_CROSS_ENTROPY_CROSS_ENTROPY_CUH_
#define NESTED_LEARNING_KERNELS_CROSS_ENTROPY_CROSS_ENTROPY_CUH_

#include "cuda/cuda.h"

namespace nested_learning {

constexpr int kCrossEntropyThreads = 256;

struct CrossEntropyArguments {
  const float* logits;     // [count, classes]
  const int32_t* targets;  // [count], −1 for a row that takes no part
  float* losses;           // [count]
  float* log_sums;         // [count]; nl_cross_entropy_with_gradient does not use it
  const float* d_losses;   // [count]; backward alone
  float* d_logits;         // [count, classes], may be logits
  int64_t count, classes;
  float gradient_scale;  // for each d_loss, with the gradient
  int32_t reserved;
};

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_CROSS_ENTROPY_CROSS_ENTROPY_CUH_

// Arguments of elementwise.cu.
#ifndef NESTED_LEARNING_KERNELS_ELEMENTWISE_ELEMENTWISE_CUH_
#define NESTED_LEARNING_KERNELS_ELEMENTWISE_ELEMENTWISE_CUH_

#include "cuda/cuda.h"

namespace nested_learning {

struct FillArguments {
  float* x;  // [count]
  int64_t count;
  float value;
  int32_t reserved;
};

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_ELEMENTWISE_ELEMENTWISE_CUH_

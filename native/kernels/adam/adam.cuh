// Arguments of adam.cu. A commit of many tensors is a launch for each kAdamTensors of them:
//   nl_adam_commit    blocks of kAdamThreads threads, `blocks` of all tensors together
//   nl_adam_changes   where changes are wanted, after it: a block of kAdamThreads for each tensor
#ifndef NESTED_LEARNING_KERNELS_ADAM_ADAM_CUH_
#define NESTED_LEARNING_KERNELS_ADAM_ADAM_CUH_

#include "cuda/cuda.h"

namespace nested_learning {

constexpr int kAdamThreads = 256;
// As many as the 4096 bytes of a launch's arguments take.
constexpr int kAdamTensors = 32;

// A step's constants, as AdamStep of adam-inl.h, worked out in double on the host. ILGPU's kernels take them too.
struct AdamConstants {
  uint64_t seed, step;  // of the random bits that round bfloat16
  float beta1, rest1, beta2, rest2, rate, root_scale, l2, decay, epsilon, gradient_scale;
  int32_t bfloat16;  // whether m and v are
  int32_t clear;     // whether g becomes 0
};

struct AdamTensor {
  float* w;  // [count]
  float* g;
  void* m;  // float32 or bfloat16
  void* v;
  int64_t count;
  AdamConstants constants;
  int32_t first_block, blocks;
};

struct AdamArguments {
  AdamTensor tensors[kAdamTensors];  // in the order of their first blocks; count of them are there
  // [blocks, 2]: sums of squares of the changes and of the old weights; null: not wanted
  double* parts;
  double* changes;  // [count, 2]
  int32_t count, reserved;
};

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_ADAM_ADAM_CUH_

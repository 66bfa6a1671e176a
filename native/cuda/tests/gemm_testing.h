// What the tests of products share: how operands are rounded.
#ifndef NESTED_LEARNING_CUDA_TESTS_GEMM_TESTING_H_
#define NESTED_LEARNING_CUDA_TESTS_GEMM_TESTING_H_

#include "cuda/tests/testing.h"

namespace nested_learning {

enum Precision { kExact, kTf32, kBf16 };
inline const char* const kNames[] = {"f32", "tf32", "bf16"};

inline double Rounded(float x, Precision precision) {
  return precision == kBf16   ? std::bit_cast<float>(PackBf16(0, x) & 0xffff0000u)
         : precision == kTf32 ? std::bit_cast<float>(RoundToTf32(x))
                              : x;
}

}  // namespace nested_learning

#endif  // NESTED_LEARNING_CUDA_TESTS_GEMM_TESTING_H_

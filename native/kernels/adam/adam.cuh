// Arguments of adam.cu, and Adam's step for kernels that end in it. README.md has the equations and the random numbers.
#ifndef NESTED_LEARNING_KERNELS_ADAM_ADAM_CUH_
#define NESTED_LEARNING_KERNELS_ADAM_ADAM_CUH_

#include "cuda/cuda.h"

namespace nested_learning {

// Tensors of a launch: as many as a kernel's 4 KiB of parameters hold.
constexpr int kAdamTensors = 32;

// Elements of a block. A tensor has ⌈count / kAdamChunk⌉ blocks, tensors follow each other in the grid.
constexpr int kAdamChunk = 4096;
constexpr int kAdamThreads = 256;

// Of nl_adam_commit where parts are wanted, and of nl_adam_sums.
constexpr int kAdamSharedBytes = 64 * sizeof(double);

// A step's constants, worked out in double and rounded. g ← gradient_scale g + ridge w; decay = ηλ where decoupled;
// rate = η / correction1, root_scale = 1 / correction2.
struct AdamConstants {
  uint64_t seed, step;
  float gradient_scale, ridge;
  float beta1, rest1;
  float beta2, rest2;
  float rate, root_scale;
  float epsilon, decay;
};

struct AdamTensor {
  float* w;
  float* g;
  void* m;  // float [count], or bfloat16 where half
  void* v;
  int64_t count;
  AdamConstants constants;
  int32_t first_chunk;  // of all tensors before it
  int32_t half;
  int32_t clear;  // whether g becomes 0
  int32_t reserved;
};

struct AdamArguments {
  double* parts;   // [chunks of all tensors, 2]: Σ (change of w)², Σ (old w)²; null: not wanted
  double* result;  // [tensors, 2]: of nl_adam_sums
  int32_t tensor_count;
  int32_t chunk_count;
  AdamTensor tensors[kAdamTensors];
};
static_assert(sizeof(AdamTensor) == 112 && sizeof(AdamArguments) == 3608,
              "C# mirrors these, and parameters end at 4096");

// The new w; m and v in and out. No operation is fused with another: so the processor's kernels have the same bits.
NL_DEVICE float AdamStep(const AdamConstants& c, float w, float gradient, float& m, float& v) {
  const float g = __fadd_rn(__fmul_rn(c.gradient_scale, gradient), __fmul_rn(c.ridge, w));
  m = __fadd_rn(__fmul_rn(c.beta1, m), __fmul_rn(c.rest1, g));
  v = __fadd_rn(__fmul_rn(c.beta2, v), __fmul_rn(c.rest2, __fmul_rn(g, g)));
  const float root = __fadd_rn(sqrtf(__fmul_rn(v, c.root_scale)), c.epsilon);
  // Not (1 - ηλ) w, whose factor would be rounded to few of the bits of ηλ.
  return __fsub_rn(w, __fadd_rn(__fmul_rn(c.decay, w), __fmul_rn(c.rate, m) / root));
}

// A block of Philox4x32-10.
NL_DEVICE uint4 RandomBlock(uint64_t seed, uint64_t stream, uint64_t block) {
  uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  uint32_t c0 = static_cast<uint32_t>(block), c1 = static_cast<uint32_t>(block >> 32);
  uint32_t c2 = static_cast<uint32_t>(stream), c3 = static_cast<uint32_t>(stream >> 32);
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const uint64_t p0 = static_cast<uint64_t>(0xD2511F53u) * c0;
    const uint64_t p1 = static_cast<uint64_t>(0xCD9E8D57u) * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ key0;
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ key1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return {c0, c1, c2, c3};
}

// bfloat16 with random bits added below what is kept; a NaN, which might turn into a number, is cut off as it is.
NL_DEVICE uint16_t Dither(float x, uint32_t random) {
  const uint32_t bits = __float_as_uint(x);
  return static_cast<uint16_t>((x != x ? bits : bits + random) >> 16);
}

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_ADAM_ADAM_CUH_

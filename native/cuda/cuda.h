// The one header that a .cu file includes. It makes the same source compile in three places: nvcc; clang without a
// CUDA toolkit, which makes the PTX; and any C++20 compiler, where emulator.h runs it on the processor.
#ifndef NESTED_LEARNING_CUDA_CUDA_H_
#define NESTED_LEARNING_CUDA_CUDA_H_

#if defined(NL_CUDA_EMULATE)
#include "cuda/emulator.h"
#elif defined(__NVCC__)
#include <stddef.h>
#include <stdint.h>
#else
#include "cuda/clang_cuda.h"
#endif

#define NL_DEVICE static __device__ __forceinline__

#if !defined(NL_CUDA_EMULATE)
// Shared memory, whose size is given at launch or by extents such as [2][32]; the emulator's starts as NaN.
#define NL_DYNAMIC_SHARED(T, name) extern __shared__ __align__(128) T name[]
#define NL_SHARED(T, name, extents) __shared__ T name extents
// Stands after each kernel: the emulator finds it by its name.
#define NL_KERNEL(name)
#endif

// Four floats, or two words, in one access: `p` is aligned to its size. clang would split structs' copies.
#if defined(__clang__) && !defined(NL_CUDA_EMULATE)
typedef float NlFloat4 __attribute__((ext_vector_type(4)));
typedef unsigned NlUint2 __attribute__((ext_vector_type(2)));
NL_DEVICE float4 Load16(const float* p) {
  const NlFloat4 v = *reinterpret_cast<const NlFloat4*>(p);
  return {v.x, v.y, v.z, v.w};
}
NL_DEVICE void Store16(float* p, float x, float y, float z, float w) {
  *reinterpret_cast<NlFloat4*>(p) = NlFloat4{x, y, z, w};
}
NL_DEVICE uint2 Load8(const void* p) {
  const NlUint2 v = *static_cast<const NlUint2*>(p);
  return {v.x, v.y};
}
NL_DEVICE void Store8(void* p, unsigned x, unsigned y) {
  *static_cast<NlUint2*>(p) = NlUint2{x, y};
}
#else
NL_DEVICE float4 Load16(const float* p) { return *reinterpret_cast<const float4*>(p); }
NL_DEVICE void Store16(float* p, float x, float y, float z, float w) {
  *reinterpret_cast<float4*>(p) = float4{x, y, z, w};
}
NL_DEVICE uint2 Load8(const void* p) { return *static_cast<const uint2*>(p); }
NL_DEVICE void Store8(void* p, unsigned x, unsigned y) { *static_cast<uint2*>(p) = uint2{x, y}; }
#endif

#include "cuda/tensor_core.h"

#endif  // NESTED_LEARNING_CUDA_CUDA_H_

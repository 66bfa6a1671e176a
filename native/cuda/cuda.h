// The one header that a .cu file includes. It makes the same source compile in three places: nvcc; clang without a
// CUDA toolkit, which makes the PTX that is committed; and any C++20 compiler, where emulator.h runs it on the processor.
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
// Shared memory whose size is given at launch; the emulator's starts as NaN.
#define NL_DYNAMIC_SHARED(T, name) extern __shared__ __align__(128) T name[]
// Stands after each kernel: the emulator finds it by its name.
#define NL_KERNEL(name)
#endif

#include "cuda/tensor_core.h"

#endif  // NESTED_LEARNING_CUDA_CUDA_H_

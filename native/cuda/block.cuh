// What kernels share: sums over a block, and four elements at a time of arrays that end anywhere.
#ifndef NESTED_LEARNING_CUDA_BLOCK_CUH_
#define NESTED_LEARNING_CUDA_BLOCK_CUH_

#include "cuda/cuda.h"

namespace nested_learning {

// Over a warp, the same in every lane: by halves.
template <typename T>
NL_DEVICE T SumOfWarp(T x) {
  for (int offset = 16; offset; offset >>= 1) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}

// Over a block of whole warps, the same in every thread: warps' sums in order. `shared` has an element for each warp, which nobody uses
// until the block's next barrier but one.
template <typename T>
NL_DEVICE T SumOfBlock(T x, T* shared) {
  x = SumOfWarp(x);
  if ((threadIdx.x & 31) == 0) shared[threadIdx.x >> 5] = x;
  __syncthreads();
  x = shared[0];
  for (unsigned warp = 1; warp < blockDim.x >> 5; warp++) x += shared[warp];
  return x;
}

NL_DEVICE bool IsAligned(const void* p, int bytes) {
  return (reinterpret_cast<uintptr_t>(p) & (bytes - 1)) == 0;
}

// The four elements at p in one access where kWhole, and p is aligned to 16; else the first `count`, the others 0.
template <bool kWhole>
NL_DEVICE void LoadFour(const float* p, int count, float x[4]) {
  if (kWhole) {
    const float4 v = Load16(p);
    x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
  } else {
#pragma unroll
    for (int i = 0; i < 4; i++) x[i] = i < count ? p[i] : 0.0f;
  }
}

template <bool kWhole>
NL_DEVICE void StoreFour(float* p, int count, const float x[4]) {
  if (kWhole) {
    Store16(p, x[0], x[1], x[2], x[3]);
  } else {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if (i < count) p[i] = x[i];
    }
  }
}

// The same where that is known at run time alone.
NL_DEVICE void LoadFour(bool whole, const float* p, int count, float x[4]) {
  if (whole) {
    LoadFour<true>(p, count, x);
  } else {
    LoadFour<false>(p, count, x);
  }
}

NL_DEVICE void StoreFour(bool whole, float* p, int count, const float x[4]) {
  if (whole) {
    StoreFour<true>(p, count, x);
  } else {
    StoreFour<false>(p, count, x);
  }
}

}  // namespace nested_learning

#endif  // NESTED_LEARNING_CUDA_BLOCK_CUH_

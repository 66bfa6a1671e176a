// What kernels share: sums over a block, and four elements at a time of arrays that begin and end anywhere.
#ifndef NESTED_LEARNING_CUDA_BLOCK_CUH_
#define NESTED_LEARNING_CUDA_BLOCK_CUH_

#include "cuda/cuda.h"

namespace nested_learning {

// Over a warp, in every lane, with the same bits.
template <typename T>
NL_DEVICE T WarpSum(T x) {
#pragma unroll
  for (int offset = 16; offset; offset >>= 1) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}

// Over a block of whole warps, in every thread, in an order that is always the same. shared [32] is its own.
template <typename T, bool kBarrier = true>
NL_DEVICE T BlockSum(T x, T* shared) {
  const int lane = threadIdx.x & 31, warps = static_cast<int>(blockDim.x) >> 5;
  x = WarpSum(x);
  if (lane == 0) shared[threadIdx.x >> 5] = x;
  if (kBarrier) __syncthreads();
  return WarpSum(lane < warps ? shared[lane] : T(0));
}

NL_DEVICE bool Aligned16(const void* p) { return (reinterpret_cast<uintptr_t>(p) & 15) == 0; }

// The four elements at p in one access where kWhole, and p is aligned to 16; else first .. last - 1 of them, the others 0.
template <bool kWhole>
NL_DEVICE void LoadFour(const float* p, int first, int last, float x[4]) {
  if (kWhole) {
    const float4& v = *reinterpret_cast<const float4*>(p);
    x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
  } else {
#pragma unroll
    for (int i = 0; i < 4; i++) x[i] = i >= first && i < last ? p[i] : 0.0f;
  }
}

template <bool kWhole>
NL_DEVICE void StoreFour(float* p, int first, int last, const float x[4]) {
  if (kWhole) {
    *reinterpret_cast<float4*>(p) = make_float4(x[0], x[1], x[2], x[3]);
  } else {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if (i >= first && i < last) p[i] = x[i];
    }
  }
}

}  // namespace nested_learning

#endif  // NESTED_LEARNING_CUDA_BLOCK_CUH_

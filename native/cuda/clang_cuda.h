// What CUDA's own headers declare, for clang -x cuda without a toolkit (-nocudainc -nocudalib): no more of it than the
// kernels use. Without libdevice, elementary functions are ours.
#ifndef NESTED_LEARNING_CUDA_CLANG_CUDA_H_
#define NESTED_LEARNING_CUDA_CLANG_CUDA_H_

#if !defined(__clang__) || !defined(__CUDA__)
#error "clang_cuda.h is for clang -x cuda"
#endif

#include <stddef.h>
#include <stdint.h>

#define __host__ __attribute__((host))
#define __device__ __attribute__((device))
#define __global__ __attribute__((global))
#define __shared__ __attribute__((shared))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))
#define __forceinline__ __inline__ __attribute__((always_inline))
// Its compiler has no such word, and reads arguments where they are as long as it can follow every use of them.
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
};
struct __align__(8) float2 {
  float x, y;
};
struct __align__(16) float4 {
  float x, y, z, w;
};
struct __align__(8) uint2 {
  unsigned x, y;
};

#include <__clang_cuda_builtin_vars.h>

#define NL_CLANG static __device__ __forceinline__
NL_CLANG float2 make_float2(float x, float y) { return {x, y}; }
NL_CLANG float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

NL_CLANG float fmaf(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
NL_CLANG double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
NL_CLANG float fabsf(float a) { return __builtin_fabsf(a); }
NL_CLANG float rintf(float a) { return __builtin_rintf(a); }
NL_CLANG int min(int a, int b) { return a < b ? a : b; }
NL_CLANG int max(int a, int b) { return a > b ? a : b; }
NL_CLANG float sqrtf(float a) { return __nvvm_sqrt_rn_ftz_f(a); }
NL_CLANG unsigned __float_as_uint(float f) { return __builtin_bit_cast(unsigned, f); }
NL_CLANG int __float_as_int(float f) { return __builtin_bit_cast(int, f); }
NL_CLANG float __uint_as_float(unsigned u) { return __builtin_bit_cast(float, u); }
NL_CLANG float __int_as_float(int i) { return __builtin_bit_cast(float, i); }

// __syncthreads is clang's own.
NL_CLANG void __syncwarp(unsigned mask = 0xffffffffu) { __nvvm_bar_warp_sync(mask); }
NL_CLANG float __shfl_xor_sync(unsigned mask, float v, int x, int width = 32) {
  return __nvvm_shfl_sync_bfly_f32(mask, v, x, ((32 - width) << 8) | 0x1f);
}
NL_CLANG double __shfl_xor_sync(unsigned mask, double v, int x, int width = 32) {
  union {
    double d;
    int i[2];
  } u = {v};
  const int bounds = ((32 - width) << 8) | 0x1f;
  u.i[0] = __nvvm_shfl_sync_bfly_i32(mask, u.i[0], x, bounds);
  u.i[1] = __nvvm_shfl_sync_bfly_i32(mask, u.i[1], x, bounds);
  return u.d;
}
#undef NL_CLANG

#endif  // NESTED_LEARNING_CUDA_CLANG_CUDA_H_

// Tensor cores and asynchronous copies of sm_80: all the inline PTX there is. The emulator has the same functions.
//
// Fragments of a warp's product D [16, 8] = A [16, K] B [K, 8] + C; lane = 4 g + t with g = 0..7, t = 0..3:
//   C, D      c[0] (g, 2t)   c[1] (g, 2t+1)   c[2] (g+8, 2t)   c[3] (g+8, 2t+1)
//   A, tf32   a[0] (g, t)    a[1] (g+8, t)    a[2] (g, t+4)    a[3] (g+8, t+4)             K = 8
//   B, tf32   b[0] (t, g)    b[1] (t+4, g)
//   A, bf16   a[0] (g, 2t..) a[1] (g+8, 2t..) a[2] (g, 2t+8..) a[3] (g+8, 2t+8..)          K = 16, two in a register
//   B, bf16   b[0] (2t.., g) b[1] (2t+8.., g)
#ifndef NESTED_LEARNING_CUDA_TENSOR_CORE_H_
#define NESTED_LEARNING_CUDA_TENSOR_CORE_H_

namespace nested_learning {

// How operands enter a product; sums are float32 in all of them.
enum class Rounding { kNone, kTf32, kBf16 };

}  // namespace nested_learning

#if !defined(NL_CUDA_EMULATE)

#if defined(__NVCC__)
NL_DEVICE unsigned SharedAddress(const void* p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}
#else
NL_DEVICE unsigned SharedAddress(const void* p) {
  return (unsigned)(unsigned long long)(const __attribute__((address_space(3))) void*)p;
}
#endif

NL_DEVICE void MmaTf32(float d[4], const unsigned a[4], const unsigned b[2], const float c[4]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]),
        "f"(c[2]), "f"(c[3]));
}

NL_DEVICE void MmaBf16(float d[4], const unsigned a[4], const unsigned b[2], const float c[4]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]),
        "f"(c[2]), "f"(c[3]));
}

// Four matrices of 8 rows of 16 bytes, from shared memory: lane l gives the address of row l % 8 of matrix l / 8 and
// receives in r[m] the 32 bits 4 (l % 4).. of row l / 4 of matrix m.
NL_DEVICE void LoadMatrix4(unsigned r[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SharedAddress(row))
               : "memory");
}

// The same with each matrix of 16-bit elements transposed.
NL_DEVICE void LoadMatrix4Transposed(unsigned r[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SharedAddress(row))
               : "memory");
}

// 16 bytes from global to shared memory, both aligned to 16, of which only the first `given` are read and the others become
// zero; there after a wait for their group and a barrier.
NL_DEVICE void CopyAsync16(void* to, const void* from, int given) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(SharedAddress(to)), "l"(from),
               "r"(given)
               : "memory");
}

// The same for 4 bytes; zero is written where `given` is false, and nothing is read.
NL_DEVICE void CopyAsync4(void* to, const void* from, bool given) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(SharedAddress(to)), "l"(from),
               "r"(given ? 4 : 0)
               : "memory");
}

// Ends a group of copies of this thread.
NL_DEVICE void CopyAsyncCommit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most N groups of this thread are under way.
template <int N>
NL_DEVICE void CopyAsyncWait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// Asks for the line of an element of global memory to be in the second-level cache soon.
NL_DEVICE void Prefetch(const float* p) { asm volatile("prefetch.global.L2 [%0];" ::"l"(p)); }

// Rounded to tf32, the nearest and ties away from zero.
NL_DEVICE unsigned RoundToTf32(float x) {
  unsigned u;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(u) : "f"(x));
  return u;
}

// Two bfloat16, rounded to the nearest even; low stands first in memory.
NL_DEVICE unsigned PackBf16(float low, float high) {
  unsigned u;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(u) : "f"(high), "f"(low));
  return u;
}

#endif  // !defined(NL_CUDA_EMULATE)
#endif  // NESTED_LEARNING_CUDA_TENSOR_CORE_H_

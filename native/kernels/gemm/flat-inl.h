// Few rows by a large B: whole rows of B are added to C. Per target.
#if defined(NESTED_LEARNING_KERNELS_GEMM_FLAT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_GEMM_FLAT_INL_H_
#undef NESTED_LEARNING_KERNELS_GEMM_FLAT_INL_H_
#else
#define NESTED_LEARNING_KERNELS_GEMM_FLAT_INL_H_
#endif

#include <cstddef>

#include "hwy/highway.h"
#include "core/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

// C [m, n] += A B, four rows of B at a time, which are read from end to end; a_row and a_step are the distances of A's
// elements along a row of C and along k.
void Flat(size_t m, size_t n, size_t k, const float* a, size_t a_row, size_t a_step, const float* b,
          size_t ldb, float* c, size_t ldc) {
  const F32 d;
  size_t p = 0;
  for (; p + 4 <= k; p += 4, a += 4 * a_step, b += 4 * ldb) {
    const float* b1 = b + ldb;
    const float* b2 = b1 + ldb;
    const float* b3 = b2 + ldb;
    size_t j = 0;
    for (; j + 2 * kLanes <= n; j += 2 * kLanes) {
      const VecF r00 = hn::LoadU(d, b + j), r01 = hn::LoadU(d, b + j + kLanes);
      const VecF r10 = hn::LoadU(d, b1 + j), r11 = hn::LoadU(d, b1 + j + kLanes);
      const VecF r20 = hn::LoadU(d, b2 + j), r21 = hn::LoadU(d, b2 + j + kLanes);
      const VecF r30 = hn::LoadU(d, b3 + j), r31 = hn::LoadU(d, b3 + j + kLanes);
      for (size_t i = 0; i < m; ++i) {
        const float* x = a + i * a_row;
        float* to = c + i * ldc + j;
        VecF s0 = hn::LoadU(d, to), s1 = hn::LoadU(d, to + kLanes);
        VecF factor = hn::Set(d, x[0]);
        s0 = hn::MulAdd(factor, r00, s0);
        s1 = hn::MulAdd(factor, r01, s1);
        factor = hn::Set(d, x[a_step]);
        s0 = hn::MulAdd(factor, r10, s0);
        s1 = hn::MulAdd(factor, r11, s1);
        factor = hn::Set(d, x[2 * a_step]);
        s0 = hn::MulAdd(factor, r20, s0);
        s1 = hn::MulAdd(factor, r21, s1);
        factor = hn::Set(d, x[3 * a_step]);
        s0 = hn::MulAdd(factor, r30, s0);
        s1 = hn::MulAdd(factor, r31, s1);
        hn::StoreU(s0, d, to);
        hn::StoreU(s1, d, to + kLanes);
      }
    }
    for (size_t i = 0; i < m && j < n; ++i) {
      for (size_t s = 0; s < 4; ++s) {
        AddScaledTo(a[i * a_row + s * a_step], b + s * ldb + j, c + i * ldc + j, n - j);
      }
    }
  }
  for (; p < k; ++p, a += a_step, b += ldb) {
    for (size_t i = 0; i < m; ++i) AddScaledTo(a[i * a_row], b, c + i * ldc, n);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target

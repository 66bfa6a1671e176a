// The products of core/product-inl.h, which has no export of its own: compiled here for every target.
#include "core/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/core/product_test.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/product-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

void RunProduct(bool transpose_a, bool transpose_b, int into, size_t m, size_t n, size_t k,
                const float* a, size_t lda, const float* b, size_t ldb, float* c, size_t ldc) {
  const Into mode = static_cast<Into>(into);
  if (transpose_a) {
    transpose_b ? Product<true, true>(mode, m, n, k, a, lda, b, ldb, c, ldc)
                : Product<true, false>(mode, m, n, k, a, lda, b, ldb, c, ldc);
  } else {
    transpose_b ? Product<false, true>(mode, m, n, k, a, lda, b, ldb, c, ldc)
                : Product<false, false>(mode, m, n, k, a, lda, b, ldb, c, ldc);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include "tests/testing.h"

namespace nested_learning {
NL_TARGET_TABLE(RunProduct);
}  // namespace nested_learning

using nl_testing::Buffer;

namespace {

class Product : public nl_testing::KernelTest {
 protected:
  void Check(bool transpose_a, bool transpose_b, int into, int64_t m, int64_t n, int64_t k) {
    const int64_t lda = (transpose_a ? m : k) + 3;
    const int64_t ldb = (transpose_b ? k : n) + 1;
    const int64_t ldc = n + 5;
    const Buffer a = Buffer::Uniform((transpose_a ? k : m) * lda, 1, -1, 1, 1);
    const Buffer b = Buffer::Uniform((transpose_b ? n : k) * ldb, 2, -1, 1, 2);
    Buffer c = into == 0 ? Buffer(m * ldc, 3) : Buffer::Uniform(m * ldc, 3, -1, 1, 3);
    const Buffer before = c;
    const auto run = nested_learning::RunProductTable[nl_testing::CurrentSlot()];
    run(transpose_a, transpose_b, into, m, n, k, a.data(), lda, b.data(), ldb, c.data(), ldc);
    const std::string where = "m " + std::to_string(m) + " n " + std::to_string(n) + " k " +
                              std::to_string(k) + " A" + (transpose_a ? "t" : "") + " B" +
                              (transpose_b ? "t" : "") + " into " + std::to_string(into);
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < ldc; ++j) {
        if (j >= n) {
          ASSERT_EQ(0, std::memcmp(&c.data()[i * ldc + j], &before.data()[i * ldc + j], 4))
              << where << " wrote beyond the row";
          continue;
        }
        double sum = 0, magnitude = 0;
        for (int64_t p = 0; p < k; ++p) {
          const double term = static_cast<double>(transpose_a ? a[p * lda + i] : a[i * lda + p]) *
                              (transpose_b ? b[j * ldb + p] : b[p * ldb + j]);
          sum += term;
          magnitude += std::abs(term);
        }
        const double start = into == 0 ? 0 : before[i * ldc + j];
        nl_testing::ExpectNear(start + (into == 2 ? -sum : sum), c[i * ldc + j],
                               nl_testing::SumTolerance(k + 1, magnitude + std::abs(start)), where);
        if (HasFailure()) return;
      }
    }
    c.ExpectGuardsUntouched();
  }
};

TEST_P(Product, AnySize_MatchesTheReference) {
  for (int64_t m : {1, 2, 3, 5, 6, 7, 11, 12, 13, 25, 40}) {
    for (int64_t n : {1, 3, 4, 5, 8, 15, 16, 17, 31, 32, 33, 49, 64, 97, 130}) {
      for (int64_t k : {0, 1, 3, 8, 17, 64}) {
        for (int transposes = 0; transposes < 4; ++transposes) {
          Check((transposes & 1) != 0, (transposes & 2) != 0, static_cast<int>((m + n + k) % 3), m,
                n, k);
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST_P(Product, DeepSums_MatchTheReference) {
  for (int64_t k : {255, 256, 257, 600}) {
    for (int transposes = 0; transposes < 4; ++transposes) {
      for (int into : {0, 1, 2}) {
        Check((transposes & 1) != 0, (transposes & 2) != 0, into, 14, 37, k);
        Check((transposes & 1) != 0, (transposes & 2) != 0, into, 2, 37, k);
      }
    }
  }
}

NL_TEST_TARGETS(Product);

}  // namespace

#endif  // HWY_ONCE

// Products whose operands are read where they lie: small ones, and those of few rows. Per target.
#if defined(NESTED_LEARNING_KERNELS_GEMM_DIRECT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_GEMM_DIRECT_INL_H_
#undef NESTED_LEARNING_KERNELS_GEMM_DIRECT_INL_H_
#else
#define NESTED_LEARNING_KERNELS_GEMM_DIRECT_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"
#include "core/product-inl.h"
#include "core/vector-inl.h"
#include "kernels/gemm/epilogue-inl.h"
#include "kernels/gemm/flat-inl.h"
#include "kernels/gemm/plan.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

template <bool kTransposeA, bool kTransposeB>
void Direct(const nl_gemm_arguments& g, const GemmPlan& plan, size_t i, size_t j, size_t rows,
            size_t columns, float* workspace) {
  const size_t m = static_cast<size_t>(g.m);
  const size_t n = static_cast<size_t>(g.n);
  const size_t k = static_cast<size_t>(g.k);
  const size_t lda = kTransposeA ? m : k;
  const size_t ldb = kTransposeB ? k : n;
  float* c = plan.staged ? workspace : g.c + i * n + j;
  const size_t ldc = plan.staged ? static_cast<size_t>(plan.block_columns) : n;
  const float* a = g.a + (kTransposeA ? i : i * lda);
  const float* b = g.b + (kTransposeB ? j * ldb : j);
  const bool add = !plan.staged && Accumulates(g);

  if (plan.method == GemmMethod::kFlat) {
    // Each block of k apart: one sum over all of a long k would lose too much.
    const size_t a_row = kTransposeA ? 1 : lda, a_step = kTransposeA ? lda : 1;
    float* block = c + rows * ldc;
    for (size_t p = 0; p < k; p += kDepth) {
      float* to = p == 0 ? c : block;
      std::fill(to, to + rows * ldc, 0.0f);
      Flat(rows, columns, std::min(kDepth, k - p), a + p * a_step, a_row, a_step, b + p * ldb, ldb,
           to, ldc);
      if (p > 0) AddScaledTo(1.0f, block, c, rows * ldc);
    }
  } else if (plan.method == GemmMethod::kDots) {
    ProductOfDots(add ? Into::kAdd : Into::kSet, rows, columns, k, a, lda, b, ldb, c, ldc);
  } else {
    size_t p = 0;
    do {
      const size_t depth = std::min(kDepth, k - p);
      Product<kTransposeA, kTransposeB>(p > 0 || add ? Into::kAdd : Into::kSet, rows, columns,
                                        depth, a + (kTransposeA ? p * lda : p), lda,
                                        b + (kTransposeB ? p : p * ldb), ldb, c, ldc);
      p += depth;
    } while (p < k);
  }
  if (plan.staged) Epilogue(g, c, ldc, i, j, rows, columns);
}

void DirectPiece(const nl_gemm_arguments& g, const GemmPlan& plan, int64_t piece,
                 float* workspace) {
  const auto [row, column, i, j, rows, columns] = BlockOf(g, plan, piece);
  if (g.transpose_a) {
    g.transpose_b ? Direct<true, true>(g, plan, i, j, rows, columns, workspace)
                  : Direct<true, false>(g, plan, i, j, rows, columns, workspace);
  } else {
    g.transpose_b ? Direct<false, true>(g, plan, i, j, rows, columns, workspace)
                  : Direct<false, false>(g, plan, i, j, rows, columns, workspace);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target

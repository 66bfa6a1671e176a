// Many small products, one after the other. Per target.
#if defined(NESTED_LEARNING_KERNELS_GEMM_BATCH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_GEMM_BATCH_INL_H_
#undef NESTED_LEARNING_KERNELS_GEMM_BATCH_INL_H_
#else
#define NESTED_LEARNING_KERNELS_GEMM_BATCH_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "hwy/highway.h"
#include "core/product-inl.h"
#include "core/vector-inl.h"
#include "kernels/gemm/prefetch-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

// Product by product, in slices of one panel of columns by two tiles of rows. With each comes a part of the next product's
// operands: all at once would leave the multiply-adds waiting for memory.
template <bool kTransposeA, bool kTransposeB>
void Batch(const nl_gemm_arguments& g, int64_t begin, int64_t end) {
  HWY_ALIGN float panel[kTransposeB ? kDepth * kTileColumns : 1];
  const int64_t lda = kTransposeA ? g.m : g.k;
  const int64_t ldb = kTransposeB ? g.k : g.n;
  const Into into = g.accumulate ? Into::kAdd : Into::kSet;
  // A transposed B is packed once for all rows where the panel holds it.
  const bool packs = kTransposeB && g.k <= static_cast<int64_t>(kDepth);
  const int64_t columns = kTileColumns;
  const int64_t rows = kTransposeB && !packs ? g.m : 2 * kTileRows;
  const int64_t slices = (g.n + columns - 1) / columns * ((g.m + rows - 1) / rows);
  for (int64_t i = begin; i < end; ++i) {
    const float* a = g.a + i * g.m * g.k;
    const float* b = g.b + i * g.k * g.n;
    float* c = g.c + i * g.m * g.n;
    int64_t slice = 0;
    for (int64_t j = 0; j < g.n; j += columns) {
      const int64_t n = std::min(columns, g.n - j);
      const float* b_panel = b + (kTransposeB ? j * ldb : j);
      if (packs) PackTransposed(n, g.k, b_panel, ldb, panel);
      for (int64_t r = 0; r < g.m; r += rows, ++slice) {
        if (kAsksAhead && i + 1 < end) {
          PrefetchPart(a + g.m * g.k, g.m * g.k, slice, 1, slices);
          PrefetchPart(b + g.k * g.n, g.k * g.n, slice, 1, slices);
          PrefetchPart(c + g.m * g.n, g.m * g.n, slice, 1, slices);
        }
        const int64_t m = std::min(rows, g.m - r);
        const float* a_rows = a + (kTransposeA ? r : r * lda);
        float* to = c + r * g.n + j;
        if (packs) {
          Panel<kTransposeA, true>(into, m, n, g.k, a_rows, lda, panel, kTileColumns, to, g.n);
        } else {
          Product<kTransposeA, kTransposeB>(into, m, n, g.k, a_rows, lda, b_panel, ldb, to, g.n);
        }
      }
    }
  }
}

void BatchPieces(const nl_gemm_arguments& g, int64_t begin, int64_t end) {
  if (g.transpose_a) {
    g.transpose_b ? Batch<true, true>(g, begin, end) : Batch<true, false>(g, begin, end);
  } else {
    g.transpose_b ? Batch<false, true>(g, begin, end) : Batch<false, false>(g, begin, end);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target

// What products ask for before it is needed. Per target.
#if defined(NESTED_LEARNING_KERNELS_GEMM_PREFETCH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_GEMM_PREFETCH_INL_H_
#undef NESTED_LEARNING_KERNELS_GEMM_PREFETCH_INL_H_
#else
#define NESTED_LEARNING_KERNELS_GEMM_PREFETCH_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "core/product-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

// Whether tiles ask for what comes next beside their own work: the next panel of B, the next product of a batch. With AVX-512 they
// are done so soon that asking costs more than it saves, two to fifteen parts in a hundred.
constexpr bool kAsksAhead = HWY_TARGET != HWY_AVX3;

// Asks for the share of count floats that the m rows from r on have, of all rows. It may lie where nothing is.
HWY_INLINE void PrefetchPart(const float* from, int64_t count, int64_t r, int64_t m, int64_t rows) {
  constexpr int64_t kLine = 16;
  const int64_t end = count * (r + m) / rows;
  for (int64_t s = count * r / rows; s < end; s += kLine) hwy::Prefetch(from + s);
}

// What the epilogue of one tile's rows will read and write beside the sums.
HWY_INLINE void PrefetchEpilogue(const nl_gemm_arguments& g, int64_t i, int64_t j, int64_t rows) {
  constexpr size_t kLine = 16;
  for (int64_t r = i; r < i + rows; ++r) {
    for (size_t s = 0; s < kTileColumns; s += kLine) {
      const size_t at = static_cast<size_t>(r * g.n + j) + s;
      if (g.pre_activation != nullptr) hwy::Prefetch(g.pre_activation + at);
      if (g.residual != nullptr) hwy::Prefetch(g.residual + at);
      if (g.adam != nullptr) {
        const bool half = g.adam->moments != NL_MOMENTS_FLOAT32;
        const size_t bytes = at * (half ? sizeof(uint16_t) : sizeof(float));
        hwy::Prefetch(g.adam->w + at);
        hwy::Prefetch(static_cast<const char*>(g.adam->m) + bytes);
        hwy::Prefetch(static_cast<const char*>(g.adam->v) + bytes);
      }
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target

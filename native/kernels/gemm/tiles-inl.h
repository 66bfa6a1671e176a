// Tiles of C from copies of the operands. Per target.
#if defined(NESTED_LEARNING_KERNELS_GEMM_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_GEMM_TILES_INL_H_
#undef NESTED_LEARNING_KERNELS_GEMM_TILES_INL_H_
#else
#define NESTED_LEARNING_KERNELS_GEMM_TILES_INL_H_
#endif

#include <cstddef>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "core/product-inl.h"
#include "core/vector-inl.h"
#include "kernels/gemm/bfloat16.h"
#include "kernels/gemm/plan.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

// A tile of C, kRows by kVectors, the last vector with `lanes` columns; a [k, kTileRows], b [k, kTileColumns].
template <size_t kRows, size_t kVectors>
HWY_NOINLINE void PackedTile(bool add, size_t k, const float* HWY_RESTRICT a,
                             const float* HWY_RESTRICT b, float* HWY_RESTRICT c, size_t ldc,
                             size_t lanes) {
  const F32 d;
  VecF sum[kRows][kVectors];
  HWY_UNROLL(16)
  for (size_t i = 0; i < kRows; ++i) {
    for (size_t line = 0; line < kVectors * kLanes; line += 16) hwy::Prefetch(c + i * ldc + line);
    HWY_UNROLL(16)
    for (size_t j = 0; j < kVectors; ++j) sum[i][j] = hn::Zero(d);
  }
  for (size_t p = 0; p < k; ++p) {
    VecF row[kVectors];
    HWY_UNROLL(16)
    for (size_t j = 0; j < kVectors; ++j) row[j] = hn::LoadU(d, b + j * kLanes);
    HWY_UNROLL(16)
    for (size_t i = 0; i < kRows; ++i) {
      const VecF factor = hn::Set(d, a[i]);
      HWY_UNROLL(16)
      for (size_t j = 0; j < kVectors; ++j) sum[i][j] = hn::MulAdd(factor, row[j], sum[i][j]);
    }
    a += kTileRows;
    b += kTileColumns;
  }
  const PartOfVector part{lanes};
  HWY_UNROLL(16)
  for (size_t i = 0; i < kRows; ++i) {
    HWY_UNROLL(16)
    for (size_t j = 0; j < kVectors; ++j) {
      float* to = c + i * ldc + j * kLanes;
      if (j + 1 < kVectors || lanes == kLanes) {
        hn::StoreU(add ? hn::Add(hn::LoadU(d, to), sum[i][j]) : sum[i][j], d, to);
      } else {
        part(add ? hn::Add(part(to), sum[i][j]) : sum[i][j], to);
      }
    }
  }
}

using PackedTileFunction = void (*)(bool, size_t, const float*, const float*, float*, size_t,
                                    size_t);

template <size_t kVectors>
HWY_INLINE PackedTileFunction PackedTileOf(size_t rows) {
#define NL_TILE(r) PackedTile<(r) < kTileRows ? (r) : kTileRows, kVectors>
  static constexpr PackedTileFunction kTiles[] = {
      NL_TILE(1), NL_TILE(2), NL_TILE(3), NL_TILE(4),  NL_TILE(5),  NL_TILE(6),
      NL_TILE(7), NL_TILE(8), NL_TILE(9), NL_TILE(10), NL_TILE(11), NL_TILE(12)};
#undef NL_TILE
  return kTiles[rows - 1];
}

HWY_INLINE PackedTileFunction PackedTileOf(const GemmPlan& plan, size_t rows, size_t vectors) {
  if (plan.step == 2) return PairTileOf(rows, vectors);
  return vectors == 2 ? PackedTileOf<2>(rows) : PackedTileOf<1>(rows);
}

#if HWY_TARGET == HWY_AVX3
static_assert(kTileRows == kPairTileRows && kTileColumns == kPairTileColumns);
#endif

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target

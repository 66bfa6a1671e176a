#include "kernels/gemm/bfloat16.h"

#include "core/dispatch.h"

#if defined(__x86_64__) && (defined(__clang__) ? __clang_major__ >= 9 : __GNUC__ >= 10)

#include <immintrin.h>

#define NL_BFLOAT16_ATTR __attribute__((target("avx512f,avx512bf16")))

namespace nested_learning {
namespace N_AVX3_BF16 {
namespace {

constexpr size_t kVectorLanes = 16;

template <size_t kRows, size_t kVectors>
NL_BFLOAT16_ATTR void PairTile(bool add, size_t steps, const float* __restrict a,
                               const float* __restrict b, float* __restrict c, size_t ldc,
                               size_t lanes) {
  __m512 sum[kRows][kVectors];
#pragma GCC unroll 16
  for (size_t i = 0; i < kRows; ++i) {
    _mm_prefetch(reinterpret_cast<const char*>(c + i * ldc), _MM_HINT_T0);
#pragma GCC unroll 16
    for (size_t j = 0; j < kVectors; ++j) sum[i][j] = _mm512_setzero_ps();
  }
  for (size_t p = 0; p < steps; ++p, a += kPairTileRows, b += kPairTileColumns) {
    __m512bh row[kVectors];
#pragma GCC unroll 16
    for (size_t j = 0; j < kVectors; ++j) {
      row[j] = (__m512bh)_mm512_loadu_ps(b + j * kVectorLanes);
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < kRows; ++i) {
      const __m512bh factor = (__m512bh)_mm512_set1_ps(a[i]);
#pragma GCC unroll 16
      for (size_t j = 0; j < kVectors; ++j) {
        sum[i][j] = _mm512_dpbf16_ps(sum[i][j], factor, row[j]);
      }
    }
  }
#pragma GCC unroll 16
  for (size_t i = 0; i < kRows; ++i) {
#pragma GCC unroll 16
    for (size_t j = 0; j < kVectors; ++j) {
      float* to = c + i * ldc + j * kVectorLanes;
      const __mmask16 mask =
          static_cast<__mmask16>(j + 1 < kVectors ? 0xFFFFu : 0xFFFFu >> (kVectorLanes - lanes));
      if (add) sum[i][j] = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, to), sum[i][j]);
      _mm512_mask_storeu_ps(to, mask, sum[i][j]);
    }
  }
}

}  // namespace
}  // namespace N_AVX3_BF16

bool HasPairTiles() { return HasBFloat16Products(); }

PairTileFunction PairTileOf(size_t rows, size_t vectors) {
#define NL_TILES(r) \
  { N_AVX3_BF16::PairTile<r, 1>, N_AVX3_BF16::PairTile<r, 2> }
  static constexpr PairTileFunction kTiles[kPairTileRows][2] = {
      NL_TILES(1), NL_TILES(2), NL_TILES(3), NL_TILES(4),  NL_TILES(5),  NL_TILES(6),
      NL_TILES(7), NL_TILES(8), NL_TILES(9), NL_TILES(10), NL_TILES(11), NL_TILES(12)};
#undef NL_TILES
  return kTiles[rows - 1][vectors - 1];
}

}  // namespace nested_learning

#else

namespace nested_learning {

bool HasPairTiles() { return false; }

PairTileFunction PairTileOf(size_t, size_t) {
  throw Error(NL_INTERNAL_ERROR, "products of bfloat16 were not compiled");
}

}  // namespace nested_learning

#endif

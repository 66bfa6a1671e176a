// The tiles of product-inl.h.
#include "core/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/product.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/product-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

HWY_INLINE void StoreTileVector(VecF sum, float* c, Into into) {
  const F32 d;
  if (into == Into::kAdd) sum = hn::Add(hn::LoadU(d, c), sum);
  if (into == Into::kSubtract) sum = hn::Sub(hn::LoadU(d, c), sum);
  hn::StoreU(sum, d, c);
}

HWY_INLINE void StoreTilePart(VecF sum, float* c, Into into, size_t lanes) {
  if (into == Into::kAdd) sum = hn::Add(LoadPart(c, lanes), sum);
  if (into == Into::kSubtract) sum = hn::Sub(LoadPart(c, lanes), sum);
  StorePart(sum, c, lanes);
}

// One tile: kRows x (kVectors vectors), the last of them with `lanes` columns when kMasked. B is readable over whole
// vectors when kPadded.
template <bool kTransposeA, size_t kRows, size_t kVectors, bool kMasked, bool kPadded>
HWY_NOINLINE void Tile(Into into, size_t k, const float* HWY_RESTRICT a, size_t lda,
                       const float* HWY_RESTRICT b, size_t ldb, float* HWY_RESTRICT c, size_t ldc,
                       size_t lanes) {
  const F32 d;
  VecF sum[kRows][kVectors];
  HWY_UNROLL(16)
  for (size_t i = 0; i < kRows; ++i) {
    HWY_UNROLL(16)
    for (size_t j = 0; j < kVectors; ++j) sum[i][j] = hn::Zero(d);
  }
  HWY_UNROLL(4)
  for (size_t p = 0; p < k; ++p) {
    VecF row[kVectors];
    HWY_UNROLL(16)
    for (size_t j = 0; j < kVectors; ++j) {
      row[j] = kMasked && !kPadded && j + 1 == kVectors ? LoadPart(b + j * kLanes, lanes)
                                                        : hn::LoadU(d, b + j * kLanes);
    }
    HWY_UNROLL(16)
    for (size_t i = 0; i < kRows; ++i) {
      const VecF factor = hn::Set(d, kTransposeA ? a[i] : a[i * lda]);
      HWY_UNROLL(16)
      for (size_t j = 0; j < kVectors; ++j) sum[i][j] = hn::MulAdd(factor, row[j], sum[i][j]);
    }
    a += kTransposeA ? lda : 1;
    b += ldb;
  }
  HWY_UNROLL(16)
  for (size_t i = 0; i < kRows; ++i) {
    HWY_UNROLL(16)
    for (size_t j = 0; j < kVectors; ++j) {
      float* to = c + i * ldc + j * kLanes;
      if (kMasked && j + 1 == kVectors) {
        StoreTilePart(sum[i][j], to, into, lanes);
      } else {
        StoreTileVector(sum[i][j], to, into);
      }
    }
  }
}

using TileFunction = void (*)(Into, size_t, const float*, size_t, const float*, size_t, float*,
                              size_t, size_t);

// The tile of so many rows.
template <bool kTransposeA, size_t kVectors, bool kMasked, bool kPadded>
HWY_INLINE TileFunction TileOf(size_t rows) {
#define NL_TILE(r) Tile<kTransposeA, (r) < kTileRows ? (r) : kTileRows, kVectors, kMasked, kPadded>
  static constexpr TileFunction kTiles[] = {NL_TILE(1), NL_TILE(2),  NL_TILE(3),  NL_TILE(4),
                                            NL_TILE(5), NL_TILE(6),  NL_TILE(7),  NL_TILE(8),
                                            NL_TILE(9), NL_TILE(10), NL_TILE(11), NL_TILE(12)};
#undef NL_TILE
  return kTiles[rows - 1];
}

// Rows are shared out evenly among the tiles, so that none is left with a single row.
template <bool kTransposeA, bool kPadded>
void Panel(Into into, size_t m, size_t n, size_t k, const float* a, size_t lda, const float* b,
           size_t ldb, float* c, size_t ldc) {
  const size_t tiles = (m + kTileRows - 1) / kTileRows;
  for (size_t t = 0, i = 0; t < tiles; ++t) {
    const size_t rows = (m - i) / (tiles - t);
    const float* from = a + (kTransposeA ? i : i * lda);
    float* to = c + i * ldc;
    if (n == kTileColumns) {
      TileOf<kTransposeA, 2, false, kPadded>(rows)(into, k, from, lda, b, ldb, to, ldc, kLanes);
    } else if (n > kLanes) {
      TileOf<kTransposeA, 2, true, kPadded>(rows)(into, k, from, lda, b, ldb, to, ldc, n - kLanes);
    } else {
      TileOf<kTransposeA, 1, true, kPadded>(rows)(into, k, from, lda, b, ldb, to, ldc, n);
    }
    i += rows;
  }
}

void Transpose(size_t n, size_t k, const float* from, size_t ld, float* to, size_t ldt) {
  size_t j = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<float, 4> d4;
  const hn::FixedTag<float, 2> half;
  const hn::RepartitionToWide<decltype(d4)> d2;
  for (; j + 4 <= n; j += 4) {
    const float* r = from + j * ld;
    size_t p = 0;
    for (; p + 4 <= k; p += 4) {
      const auto r0 = hn::LoadU(d4, r + p);
      const auto r1 = hn::LoadU(d4, r + ld + p);
      const auto r2 = hn::LoadU(d4, r + 2 * ld + p);
      const auto r3 = hn::LoadU(d4, r + 3 * ld + p);
      const auto low01 = hn::BitCast(d2, hn::InterleaveLower(d4, r0, r1));
      const auto low23 = hn::BitCast(d2, hn::InterleaveLower(d4, r2, r3));
      const auto high01 = hn::BitCast(d2, hn::InterleaveUpper(d4, r0, r1));
      const auto high23 = hn::BitCast(d2, hn::InterleaveUpper(d4, r2, r3));
      float* t = to + p * ldt + j;
      hn::StoreU(hn::BitCast(d4, hn::InterleaveLower(d2, low01, low23)), d4, t);
      hn::StoreU(hn::BitCast(d4, hn::InterleaveUpper(d2, low01, low23)), d4, t + ldt);
      hn::StoreU(hn::BitCast(d4, hn::InterleaveLower(d2, high01, high23)), d4, t + 2 * ldt);
      hn::StoreU(hn::BitCast(d4, hn::InterleaveUpper(d2, high01, high23)), d4, t + 3 * ldt);
    }
    for (; p < k; ++p) {
      for (size_t s = 0; s < 4; ++s) to[p * ldt + j + s] = r[s * ld + p];
    }
  }
  // The last two of a tile's six rows.
  for (; j + 2 <= n; j += 2) {
    const float* r = from + j * ld;
    size_t p = 0;
    for (; p + 4 <= k; p += 4) {
      const auto r0 = hn::LoadU(d4, r + p);
      const auto r1 = hn::LoadU(d4, r + ld + p);
      const auto low = hn::InterleaveLower(d4, r0, r1);
      const auto high = hn::InterleaveUpper(d4, r0, r1);
      float* t = to + p * ldt + j;
      hn::StoreU(hn::LowerHalf(half, low), half, t);
      hn::StoreU(hn::UpperHalf(half, low), half, t + ldt);
      hn::StoreU(hn::LowerHalf(half, high), half, t + 2 * ldt);
      hn::StoreU(hn::UpperHalf(half, high), half, t + 3 * ldt);
    }
    for (; p < k; ++p) {
      for (size_t s = 0; s < 2; ++s) to[p * ldt + j + s] = r[s * ld + p];
    }
  }
#endif
  for (; j < n; ++j) {
    for (size_t p = 0; p < k; ++p) to[p * ldt + j] = from[j * ld + p];
  }
}

void PackTransposed(size_t n, size_t k, const float* from, size_t ld, float* to) {
  Transpose(n, k, from, ld, to, kTileColumns);
  if (n < kTileColumns) {
    for (size_t p = 0; p < k; ++p) {
      std::fill(to + p * kTileColumns + n, to + (p + 1) * kTileColumns, 0.0f);
    }
  }
}

// kRows rows of A by four rows of a transposed B: sixteen dot products or fewer.
template <size_t kRows>
HWY_NOINLINE void DotTile(Into into, size_t k, const float* HWY_RESTRICT a, size_t lda,
                          const float* HWY_RESTRICT b, size_t ldb, float* HWY_RESTRICT c,
                          size_t ldc, size_t columns) {
  const F32 d;
  VecF sum[kRows][4];
  HWY_UNROLL(4)
  for (size_t i = 0; i < kRows; ++i) {
    HWY_UNROLL(4)
    for (size_t j = 0; j < 4; ++j) sum[i][j] = hn::Zero(d);
  }
  // Past the last row of B the last is read again, and its sums are dropped.
  const float* y[4];
  for (size_t j = 0; j < 4; ++j) y[j] = b + std::min(j, columns - 1) * ldb;
  size_t p = 0;
  for (; p + kLanes <= k; p += kLanes) {
    VecF row[4];
    HWY_UNROLL(4)
    for (size_t j = 0; j < 4; ++j) row[j] = hn::LoadU(d, y[j] + p);
    HWY_UNROLL(4)
    for (size_t i = 0; i < kRows; ++i) {
      const VecF x = hn::LoadU(d, a + i * lda + p);
      HWY_UNROLL(4)
      for (size_t j = 0; j < 4; ++j) sum[i][j] = hn::MulAdd(x, row[j], sum[i][j]);
    }
  }
  if (p < k) {
    VecF row[4];
    HWY_UNROLL(4)
    for (size_t j = 0; j < 4; ++j) row[j] = LoadPart(y[j] + p, k - p);
    HWY_UNROLL(4)
    for (size_t i = 0; i < kRows; ++i) {
      const VecF x = LoadPart(a + i * lda + p, k - p);
      HWY_UNROLL(4)
      for (size_t j = 0; j < 4; ++j) sum[i][j] = hn::MulAdd(x, row[j], sum[i][j]);
    }
  }
  HWY_UNROLL(4)
  for (size_t i = 0; i < kRows; ++i) {
    HWY_UNROLL(4)
    for (size_t j = 0; j < 4; ++j) {
      if (j >= columns) break;
      const float total = SumLanes(sum[i][j]);
      float& to = c[i * ldc + j];
      to = into == Into::kSet ? total : into == Into::kAdd ? to + total : to - total;
    }
  }
}

void ProductOfDots(Into into, size_t m, size_t n, size_t k, const float* a, size_t lda,
                   const float* b, size_t ldb, float* c, size_t ldc) {
  static constexpr TileFunction kTiles[] = {DotTile<1>, DotTile<2>,
                                            DotTile<std::min<size_t>(kDotRows, 3)>,
                                            DotTile<std::min<size_t>(kDotRows, 4)>};
  const size_t tiles = (m + kDotRows - 1) / kDotRows;
  for (size_t j = 0; j < n; j += 4) {
    for (size_t t = 0, i = 0; t < tiles; ++t) {
      const size_t rows = (m - i) / (tiles - t);
      kTiles[rows - 1](into, k, a + i * lda, lda, b + j * ldb, ldb, c + i * ldc + j, ldc,
                       std::min<size_t>(4, n - j));
      i += rows;
    }
  }
}

template <bool kTransposeA, bool kTransposeB>
void Product(Into into, size_t m, size_t n, size_t k, const float* a, size_t lda, const float* b,
             size_t ldb, float* c, size_t ldc) {
  if (m == 0 || n == 0) return;
  if constexpr (kTransposeB) {
    if (m <= kFewRows && !kTransposeA) {
      ProductOfDots(into, m, n, k, a, lda, b, ldb, c, ldc);
      return;
    }
    HWY_ALIGN float packed[kDepth * kTileColumns];
    for (size_t j = 0; j < n; j += kTileColumns) {
      const size_t columns = std::min(kTileColumns, n - j);
      size_t p = 0;
      do {
        const size_t depth = std::min(kDepth, k - p);
        PackTransposed(columns, depth, b + j * ldb + p, ldb, packed);
        const Into block = p == 0 || into != Into::kSet ? into : Into::kAdd;
        Panel<kTransposeA, true>(block, m, columns, depth, a + (kTransposeA ? p * lda : p), lda,
                                 packed, kTileColumns, c + j, ldc);
        p += depth;
      } while (p < k);
    }
  } else {
    size_t j = 0;
    if (m <= kFlatRows) {
      constexpr size_t kColumns = kFlatVectors * kLanes;
      for (; j + kColumns <= n; j += kColumns) {
        if (m == 1) {
          Tile<kTransposeA, 1, kFlatVectors, false, false>(into, k, a, lda, b + j, ldb, c + j, ldc,
                                                           kLanes);
        } else {
          Tile<kTransposeA, 2, kFlatVectors, false, false>(into, k, a, lda, b + j, ldb, c + j, ldc,
                                                           kLanes);
        }
      }
    }
    for (; j < n; j += kTileColumns) {
      Panel<kTransposeA, false>(into, m, std::min(kTileColumns, n - j), k, a, lda, b + j, ldb,
                                c + j, ldc);
    }
  }
}

#define NL_PRODUCT(transpose_a, transpose_b)                                                  \
  template void Product<transpose_a, transpose_b>(Into, size_t, size_t, size_t, const float*, \
                                                  size_t, const float*, size_t, float*, size_t);
#define NL_PANEL(transpose_a, padded)                                                          \
  template void Panel<transpose_a, padded>(Into, size_t, size_t, size_t, const float*, size_t, \
                                           const float*, size_t, float*, size_t);
NL_PRODUCT(false, false)
NL_PRODUCT(false, true)
NL_PRODUCT(true, false)
NL_PRODUCT(true, true)
NL_PANEL(false, true)
NL_PANEL(true, true)
#undef NL_PRODUCT
#undef NL_PANEL

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

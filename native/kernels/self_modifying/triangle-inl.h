// The self-modifying scan's products with a triangular factor, and the two substitutions. Per target.
//
//   AddLowerProduct        C += tril(A) B           A [n, n], B and C [n, m]
//   AddUpperProduct        C += tril(A)ᵀ B
//   SolveLower             C = (I − tril(A, −1))⁻¹ C        forward substitution
//   SolveLowerTransposed   C = (I − tril(A, −1))⁻ᵀ C        backward substitution
//   LowerOfProduct         C = the lower triangle of A Bᵀ, from B already transposed; above it C is undefined
//
// strict leaves A's diagonal out. Nothing above A's diagonal is read, so that a NaN of a later
// token stays there.
#if defined(NESTED_LEARNING_KERNELS_SELF_MODIFYING_TRIANGLE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_SELF_MODIFYING_TRIANGLE_INL_H_
#undef NESTED_LEARNING_KERNELS_SELF_MODIFYING_TRIANGLE_INL_H_
#else
#define NESTED_LEARNING_KERNELS_SELF_MODIFYING_TRIANGLE_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "hwy/highway.h"
#include "core/product-inl.h"
#include "core/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

// Rows of a tile, by two vectors of columns; with the operands in flight they fit the registers.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr size_t kTriangleRows = 8;
#else
constexpr size_t kTriangleRows = 4;
#endif

// kRows rows of C from row `first`, by kVectors vectors of columns, the last with `lanes` of them
// when kMasked. First the rows of B that all of the tile's rows take, then the tile's own corner of
// A, row after row. When kSolve, B is C, and the corner uses the rows just finished.
template <bool kUpper, bool kSolve, size_t kRows, size_t kVectors, bool kMasked>
HWY_NOINLINE void TriangleTile(size_t first, size_t n, bool strict, const float* a, size_t lda,
                               const float* b, size_t ldb, float* c, size_t ldc, size_t lanes) {
  const F32 d;
  const auto load = [&](const float* from, size_t j) HWY_ATTR {
    return kMasked && j + 1 == kVectors ? LoadPart(from + j * kLanes, lanes)
                                        : hn::LoadU(d, from + j * kLanes);
  };
  VecF sum[kRows][kVectors];
  HWY_UNROLL(16)
  for (size_t i = 0; i < kRows; ++i) {
    HWY_UNROLL(16)
    for (size_t j = 0; j < kVectors; ++j) sum[i][j] = load(c + (first + i) * ldc, j);
  }
  // A(i, p) stands at a[i * lda + p], its transpose's at a[p * lda + i].
  const size_t begin = kUpper ? first + kRows : 0;
  const size_t end = kUpper ? n : first;
  const float* row = b + begin * ldb;
  const float* factors = kUpper ? a + begin * lda + first : a + first * lda;
  for (size_t p = begin; p < end; ++p) {
    VecF v[kVectors];
    HWY_UNROLL(16)
    for (size_t j = 0; j < kVectors; ++j) v[j] = load(row, j);
    HWY_UNROLL(16)
    for (size_t i = 0; i < kRows; ++i) {
      const VecF factor = hn::Set(d, kUpper ? factors[i] : factors[i * lda]);
      HWY_UNROLL(16)
      for (size_t j = 0; j < kVectors; ++j) sum[i][j] = hn::MulAdd(factor, v[j], sum[i][j]);
    }
    row += ldb;
    factors += kUpper ? lda : 1;
  }
  const float* corner = a + first * lda + first;
  HWY_UNROLL(16)
  for (size_t s = 0; s < kRows; ++s) {
    const size_t p = kUpper ? kRows - 1 - s : s;
    VecF v[kVectors];
    HWY_UNROLL(16)
    for (size_t j = 0; j < kVectors; ++j) {
      v[j] = kSolve ? sum[p][j] : load(b + (first + p) * ldb, j);
    }
    HWY_UNROLL(16)
    for (size_t i = 0; i < kRows; ++i) {
      const bool inside = kUpper ? i < p : i > p;
      if (inside || (!kSolve && !strict && i == p)) {
        const VecF factor = hn::Set(d, kUpper ? corner[p * lda + i] : corner[i * lda + p]);
        HWY_UNROLL(16)
        for (size_t j = 0; j < kVectors; ++j) sum[i][j] = hn::MulAdd(factor, v[j], sum[i][j]);
      }
    }
  }
  HWY_UNROLL(16)
  for (size_t i = 0; i < kRows; ++i) {
    HWY_UNROLL(16)
    for (size_t j = 0; j < kVectors; ++j) {
      float* to = c + (first + i) * ldc + j * kLanes;
      if (kMasked && j + 1 == kVectors) {
        StorePart(sum[i][j], to, lanes);
      } else {
        hn::StoreU(sum[i][j], d, to);
      }
    }
  }
}

// One panel of columns. Tiles of 8 (or 4) rows, then 4, 2, 1; the upper triangle from the last tile
// to the first.
template <bool kUpper, bool kSolve, size_t kVectors, bool kMasked>
HWY_INLINE void TrianglePanel(size_t n, bool strict, const float* a, size_t lda, const float* b,
                              size_t ldb, float* c, size_t ldc, size_t lanes) {
  const auto tile = [&](size_t first, size_t rows) HWY_ATTR {
    switch (rows) {
      case 1:
        return TriangleTile<kUpper, kSolve, 1, kVectors, kMasked>(first, n, strict, a, lda, b, ldb,
                                                                  c, ldc, lanes);
      case 2:
        return TriangleTile<kUpper, kSolve, 2, kVectors, kMasked>(first, n, strict, a, lda, b, ldb,
                                                                  c, ldc, lanes);
      case 4:
        return TriangleTile<kUpper, kSolve, 4, kVectors, kMasked>(first, n, strict, a, lda, b, ldb,
                                                                  c, ldc, lanes);
      default:
        return TriangleTile<kUpper, kSolve, kTriangleRows, kVectors, kMasked>(
            first, n, strict, a, lda, b, ldb, c, ldc, lanes);
    }
  };
  // The largest power of two that fits from `first` on; the partition depends on n alone.
  const auto rows_from = [&](size_t first) {
    size_t rows = kTriangleRows;
    while (rows > n - first) rows /= 2;
    return rows;
  };
  if (!kUpper) {
    for (size_t first = 0; first < n;) {
      const size_t rows = rows_from(first);
      tile(first, rows);
      first += rows;
    }
  } else {
    const size_t whole = n / kTriangleRows * kTriangleRows;
    size_t rows = 1;
    for (size_t end = n; end > whole; rows *= 2) {
      if ((n - whole) & rows) tile(end -= rows, rows);
    }
    for (size_t end = whole; end > 0;) tile(end -= kTriangleRows, kTriangleRows);
  }
}

template <bool kUpper, bool kSolve>
HWY_NOINLINE void TriangleProduct(size_t n, size_t m, bool strict, const float* a, size_t lda,
                                  const float* b, size_t ldb, float* c, size_t ldc) {
  for (size_t j = 0; j < m; j += 2 * kLanes) {
    const size_t columns = m - j;
    if (columns >= 2 * kLanes) {
      TrianglePanel<kUpper, kSolve, 2, false>(n, strict, a, lda, b + j, ldb, c + j, ldc, kLanes);
    } else if (columns > kLanes) {
      TrianglePanel<kUpper, kSolve, 2, true>(n, strict, a, lda, b + j, ldb, c + j, ldc,
                                             columns - kLanes);
    } else {
      TrianglePanel<kUpper, kSolve, 1, true>(n, strict, a, lda, b + j, ldb, c + j, ldc, columns);
    }
  }
}

inline void AddLowerProduct(size_t n, size_t m, bool strict, const float* a, size_t lda,
                            const float* b, size_t ldb, float* c, size_t ldc) {
  TriangleProduct<false, false>(n, m, strict, a, lda, b, ldb, c, ldc);
}

inline void AddUpperProduct(size_t n, size_t m, bool strict, const float* a, size_t lda,
                            const float* b, size_t ldb, float* c, size_t ldc) {
  TriangleProduct<true, false>(n, m, strict, a, lda, b, ldb, c, ldc);
}

inline void SolveLower(size_t n, size_t m, const float* a, size_t lda, float* c, size_t ldc) {
  TriangleProduct<false, true>(n, m, true, a, lda, c, ldc, c, ldc);
}

inline void SolveLowerTransposed(size_t n, size_t m, const float* a, size_t lda, float* c,
                                 size_t ldc) {
  TriangleProduct<true, true>(n, m, true, a, lda, c, ldc, c, ldc);
}

// a [n, k], b [k, n]: 16 rows at a time, each with the columns that any of them needs.
inline void LowerOfProduct(size_t n, size_t k, const float* a, size_t lda, const float* b,
                           size_t ldb, float* c, size_t ldc) {
  constexpr size_t kBlock = 16;
  for (size_t i = 0; i < n; i += kBlock) {
    const size_t end = std::min(n, i + kBlock);
    Product<false, false>(Into::kSet, end - i, end, k, a + i * lda, lda, b, ldb, c + i * ldc, ldc);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target

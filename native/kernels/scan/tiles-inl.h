// Matrices that are sums of several products, made tile by tile: a tile of the result stays in registers, or next to
// them, from its first term to its last, and is written once. Per target.
//
//   Tiles(upcoming).Product(q, ldq, s, lds, dk).Scale(f).Lower(m, ldm, w, ldw, false).Store(o, ldo).Run(n, dv)
//     O = diag(f) (Q S) + tril(M) W
//
// Terms are done in order, on a result X [rows, columns] that starts as zero; row factors are [rows]:
//
//   Product        X += A B                    A [rows, depth], B [depth, columns]
//   Transposed     X += Aᵀ B                   A [depth, rows]
//   Lower          X += tril(A) B              A [rows, rows], strict: without the diagonal
//   Upper          X += tril(A)ᵀ B
//   SolveLower     X = (I − tril(A, −1))⁻¹ X   must be stored, without factors, right after
//   SolveUpper     X = (I − tril(A, −1))⁻ᵀ X   the same; no Lower or SolveLower beside it
//   Scale          X = diag(factors) X
//   AddRows        X += diag(factors) B, or factor B
//   ScaleAndAdd    X = diag(factors) X + diag(others) B
//   Times          X = diag(factors) B ∘ X
//   Dots           to[row] += the lanes of X ∘ B, kRowPadding floats a row, zero where columns begin
//   Store          to = X, or diag(factors) X
//
// Nothing above A's diagonal is read, so that a NaN of a later token stays there.
#if defined(NESTED_LEARNING_KERNELS_SCAN_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_SCAN_TILES_INL_H_
#undef NESTED_LEARNING_KERNELS_SCAN_TILES_INL_H_
#else
#define NESTED_LEARNING_KERNELS_SCAN_TILES_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "hwy/highway.h"
#include "core/product-inl.h"
#include "core/vector-inl.h"
#include "kernels/scan/scan.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

// Rows of a tile, by two vectors of columns: as core's, but no more than keep a triangle's corner short.
constexpr size_t kRowsOfTile = std::min<size_t>(kTileRows, 8);

struct TileTerm {
  enum Kind {
    kProduct,
    kTransposed,
    kLower,
    kUpper,
    kSolveLower,
    kSolveUpper,
    kScale,
    kAdd,
    kAddRows,
    kScaleAndAdd,
    kTimes,
    kDots,
    kStore,
    kStoreScaled
  };
  Kind kind;
  bool strict;
  size_t depth;
  const float* a;  // or the row factors, lda apart
  size_t lda;
  const float* b;
  size_t ldb;
  float* to;  // rows ldb apart
  const float* others = nullptr;
};

// Where a tile lies: rows from `first` of `rows` in all, columns from `column`, `lanes` of them in the last vector.
struct TilePlace {
  size_t first, rows, column, lanes;
};

template <size_t kRows, size_t kVectors, bool kMasked>
struct SumTile {
  using Sums = VecF[kRows][kVectors];

  HWY_INLINE static VecF Load(const float* from, size_t j, size_t lanes) {
    return kMasked && j + 1 == kVectors ? LoadPart(from + j * kLanes, lanes)
                                        : hn::LoadU(F32(), from + j * kLanes);
  }

  // sum += A B over `depth` rows of B; A(i, p) stands at a[i * row + p * next].
  template <bool kTransposed>
  HWY_INLINE static void Multiply(Sums& sum, size_t depth, const float* a, size_t lda,
                                  const float* b, size_t ldb, size_t lanes) {
    HWY_UNROLL(4)
    for (size_t p = 0; p < depth; ++p) {
      VecF row[kVectors];
      HWY_UNROLL(8)
      for (size_t j = 0; j < kVectors; ++j) row[j] = Load(b, j, lanes);
      HWY_UNROLL(8)
      for (size_t i = 0; i < kRows; ++i) {
        const VecF factor = hn::Set(F32(), kTransposed ? a[i] : a[i * lda]);
        HWY_UNROLL(8)
        for (size_t j = 0; j < kVectors; ++j) sum[i][j] = hn::MulAdd(factor, row[j], sum[i][j]);
      }
      a += kTransposed ? lda : 1;
      b += ldb;
    }
  }

  // The tile's own corner of A, row after row of B. When kSolve, B is the result, and rows just finished are used.
  template <bool kUpper, bool kSolve>
  HWY_INLINE static void Corner(Sums& sum, const TileTerm& term, const TilePlace& place) {
    const float* corner = term.a + place.first * (term.lda + 1);
    HWY_UNROLL(8)
    for (size_t s = 0; s < kRows; ++s) {
      const size_t p = kUpper ? kRows - 1 - s : s;
      VecF row[kVectors];
      HWY_UNROLL(8)
      for (size_t j = 0; j < kVectors; ++j) {
        row[j] = kSolve
                     ? sum[p][j]
                     : Load(term.b + (place.first + p) * term.ldb + place.column, j, place.lanes);
      }
      HWY_UNROLL(8)
      for (size_t i = 0; i < kRows; ++i) {
        const bool inside = kUpper ? i < p : i > p;
        if (inside || (!kSolve && !term.strict && i == p)) {
          const VecF factor =
              hn::Set(F32(), kUpper ? corner[p * term.lda + i] : corner[i * term.lda + p]);
          HWY_UNROLL(8)
          for (size_t j = 0; j < kVectors; ++j) sum[i][j] = hn::MulAdd(factor, row[j], sum[i][j]);
        }
      }
    }
  }

  template <bool kUpper, bool kSolve>
  HWY_INLINE static void Triangle(Sums& sum, const TileTerm& term, const TilePlace& place) {
    const size_t begin = kUpper ? place.first + kRows : 0, end = kUpper ? place.rows : place.first;
    const float* from =
        kUpper ? term.a + begin * term.lda + place.first : term.a + place.first * term.lda;
    Multiply<kUpper>(sum, end - begin, from, term.lda, term.b + begin * term.ldb + place.column,
                     term.ldb, place.lanes);
    Corner<kUpper, kSolve>(sum, term, place);
  }

  // operation(sum[i][j], the row's factor, the row of the matrix with the tile's columns, i, j) for all of the tile.
  template <bool kFactors, class TOperation>
  HWY_INLINE static void ForEach(Sums& sum, const TileTerm& term, const TilePlace& place,
                                 const float* matrix, TOperation operation) {
    const float* factors = term.a + (kFactors ? place.first * term.lda : 0);
    const float* row = matrix + place.first * term.ldb + place.column;
    HWY_UNROLL(8)
    for (size_t i = 0; i < kRows; ++i) {
      const VecF factor = kFactors ? hn::Set(F32(), *factors) : hn::Zero(F32());
      HWY_UNROLL(8)
      for (size_t j = 0; j < kVectors; ++j) operation(sum[i][j], factor, row, i, j);
      factors += kFactors ? term.lda : 0;
      row += term.ldb;
    }
  }

  HWY_INLINE static void Store(VecF value, float* to, size_t j, size_t lanes) {
    if (kMasked && j + 1 == kVectors) {
      StorePart(value, to + j * kLanes, lanes);
    } else {
      hn::StoreU(value, F32(), to + j * kLanes);
    }
  }

  // `tiles` tiles, each below the one before, or above it when up.
  HWY_NOINLINE static void Run(const TileTerm* terms, size_t count, const TilePlace& first,
                               size_t tiles, bool up) {
    TilePlace place = first;
    for (size_t t = 0; t < tiles; ++t) {
      RunOne(terms, count, place);
      place.first += up ? -kRows : kRows;
    }
  }

  HWY_INLINE static void RunOne(const TileTerm* terms, size_t count, const TilePlace& place) {
    const F32 d;
    const size_t lanes = place.lanes;
    Sums sum;
    HWY_UNROLL(8)
    for (size_t i = 0; i < kRows; ++i) {
      HWY_UNROLL(8)
      for (size_t j = 0; j < kVectors; ++j) sum[i][j] = hn::Zero(d);
    }
    for (const TileTerm* term = terms; term < terms + count; ++term) {
      switch (term->kind) {
        case TileTerm::kProduct:
          Multiply<false>(sum, term->depth, term->a + place.first * term->lda, term->lda,
                          term->b + place.column, term->ldb, lanes);
          break;
        case TileTerm::kTransposed:
          Multiply<true>(sum, term->depth, term->a + place.first, term->lda, term->b + place.column,
                         term->ldb, lanes);
          break;
        case TileTerm::kLower:
          Triangle<false, false>(sum, *term, place);
          break;
        case TileTerm::kUpper:
          Triangle<true, false>(sum, *term, place);
          break;
        case TileTerm::kSolveLower:
          Triangle<false, true>(sum, *term, place);
          break;
        case TileTerm::kSolveUpper:
          Triangle<true, true>(sum, *term, place);
          break;
        case TileTerm::kScale:
          ForEach<true>(sum, *term, place, term->a,
                        [](VecF& x, VecF factor, const float*, size_t, size_t)
                            HWY_ATTR { x = hn::Mul(factor, x); });
          break;
        case TileTerm::kAdd:
          ForEach<false>(sum, *term, place, term->b,
                         [&](VecF& x, VecF, const float* row, size_t, size_t j)
                             HWY_ATTR { x = hn::Add(Load(row, j, lanes), x); });
          break;
        case TileTerm::kAddRows:
          ForEach<true>(sum, *term, place, term->b,
                        [&](VecF& x, VecF factor, const float* row, size_t, size_t j)
                            HWY_ATTR { x = hn::MulAdd(factor, Load(row, j, lanes), x); });
          break;
        case TileTerm::kScaleAndAdd:
          ForEach<true>(sum, *term, place, term->b,
                        [&](VecF& x, VecF factor, const float* row, size_t i, size_t j) HWY_ATTR {
                          VecF added = Load(row, j, lanes);
                          if (term->others != nullptr) {
                            added = hn::Mul(hn::Set(d, term->others[place.first + i]), added);
                          }
                          x = hn::MulAdd(factor, x, added);
                        });
          break;
        case TileTerm::kTimes:
          ForEach<true>(sum, *term, place, term->b,
                        [&](VecF& x, VecF factor, const float* row, size_t, size_t j)
                            HWY_ATTR { x = hn::Mul(hn::Mul(factor, Load(row, j, lanes)), x); });
          break;
        case TileTerm::kDots:
          ForEach<false>(sum, *term, place, term->b,
                         [&](VecF& x, VecF, const float* row, size_t i, size_t j) HWY_ATTR {
                           float* to = term->to + (place.first + i) * kRowPadding;
                           const VecF before =
                               place.column == 0 && j == 0 ? hn::Zero(d) : hn::LoadU(d, to);
                           hn::StoreU(hn::MulAdd(x, Load(row, j, lanes), before), d, to);
                         });
          break;
        case TileTerm::kStore:
          ForEach<false>(sum, *term, place, term->to,
                         [&](VecF& x, VecF, const float* row, size_t, size_t j)
                             HWY_ATTR { Store(x, const_cast<float*>(row), j, lanes); });
          break;
        case TileTerm::kStoreScaled:
          ForEach<true>(sum, *term, place, term->to,
                        [&](VecF& x, VecF factor, const float* row, size_t, size_t j) HWY_ATTR {
                          Store(hn::Mul(factor, x), const_cast<float*>(row), j, lanes);
                        });
          break;
      }
    }
  }
};

class Tiles {
 public:
  // upcoming takes a step after each panel of columns.
  explicit Tiles(Upcoming& upcoming) : upcoming_(upcoming) {}

  Tiles& Product(const float* a, size_t lda, const float* b, size_t ldb, size_t depth) {
    return Add({TileTerm::kProduct, false, depth, a, lda, b, ldb, nullptr});
  }
  Tiles& Transposed(const float* a, size_t lda, const float* b, size_t ldb, size_t depth) {
    return Add({TileTerm::kTransposed, false, depth, a, lda, b, ldb, nullptr});
  }
  Tiles& Lower(const float* a, size_t lda, const float* b, size_t ldb, bool strict) {
    return Add({TileTerm::kLower, strict, 0, a, lda, b, ldb, nullptr});
  }
  Tiles& Upper(const float* a, size_t lda, const float* b, size_t ldb, bool strict) {
    return Add({TileTerm::kUpper, strict, 0, a, lda, b, ldb, nullptr});
  }
  // x is where the result is stored next.
  Tiles& SolveLower(const float* a, size_t lda, const float* x, size_t ldx) {
    return Add({TileTerm::kSolveLower, true, 0, a, lda, x, ldx, nullptr});
  }
  Tiles& SolveUpper(const float* a, size_t lda, const float* x, size_t ldx) {
    last_first_ = true;
    return Add({TileTerm::kSolveUpper, true, 0, a, lda, x, ldx, nullptr});
  }
  Tiles& Scale(const float* factors) {
    return Add({TileTerm::kScale, false, 0, factors, 1, nullptr, 0, nullptr});
  }
  // factors null: 1.
  Tiles& AddRows(const float* factors, const float* b, size_t ldb) {
    const auto kind = factors == nullptr ? TileTerm::kAdd : TileTerm::kAddRows;
    return Add({kind, false, 0, factors, 1, b, ldb, nullptr});
  }
  // others null: 1.
  Tiles& ScaleAndAdd(const float* factors, const float* others, const float* b, size_t ldb) {
    return Add({TileTerm::kScaleAndAdd, false, 0, factors, 1, b, ldb, nullptr, others});
  }
  // factor is read when the tiles run.
  Tiles& AddScaled(const float& factor, const float* b, size_t ldb) {
    return Add({TileTerm::kAddRows, false, 0, &factor, 0, b, ldb, nullptr});
  }
  Tiles& Times(const float* factors, const float* b, size_t ldb) {
    return Add({TileTerm::kTimes, false, 0, factors, 1, b, ldb, nullptr});
  }
  Tiles& TimesScaled(const float& factor, const float* b, size_t ldb) {
    return Add({TileTerm::kTimes, false, 0, &factor, 0, b, ldb, nullptr});
  }
  Tiles& Dots(const float* b, size_t ldb, float* to) {
    return Add({TileTerm::kDots, false, 0, nullptr, 0, b, ldb, to});
  }
  Tiles& Store(float* to, size_t ld, const float* factors = nullptr) {
    const auto kind = factors == nullptr ? TileTerm::kStore : TileTerm::kStoreScaled;
    return Add({kind, false, 0, factors, 1, nullptr, ld, to});
  }

  void Run(size_t rows, size_t columns) const {
    for (size_t j = 0; j < columns; j += 2 * kLanes) {
      Panel(0, rows, j, columns - j);
      upcoming_.Step();
    }
  }

  // The lower triangle of a square result; of the rest, only what shares a tile with it.
  void RunLower(size_t rows) const {
    for (size_t j = 0; j < rows; j += 2 * kLanes) {
      Panel(j, rows, j, rows - j);
      upcoming_.Step();
    }
  }

 private:
  // Terms of the longest sum.
  static constexpr size_t kMaxTerms = 12;

  Tiles& Add(const TileTerm& term) {
    terms_[count_++] = term;
    return *this;
  }

  // Tiles that reach below `above`. Rows are shared out evenly among the tiles, the larger ones last, so that none is
  // left with a single row.
  void Panel(size_t above, size_t rows, size_t column, size_t columns) const {
    const size_t tiles = (rows + kRowsOfTile - 1) / kRowsOfTile, size = rows / tiles;
    const size_t large = rows % tiles, small = tiles - large;
    if (last_first_) {
      Block(rows, column, columns, size + 1, small * size, large);
      Block(rows, column, columns, size, 0, small);
    } else {
      const size_t skip = std::min(small, above / size);
      Block(rows, column, columns, size, skip * size, small - skip);
      const size_t begin = small * size;
      const size_t skip_large = above < begin ? 0 : (above - begin) / (size + 1);
      Block(rows, column, columns, size + 1, begin + skip_large * (size + 1), large - skip_large);
    }
  }

  // `tiles` tiles of `size` rows each, from row `begin` on.
  void Block(size_t rows, size_t column, size_t columns, size_t size, size_t begin,
             size_t tiles) const {
    if (tiles == 0) return;
    const size_t last = std::min(columns - 1, 2 * kLanes - 1) / kLanes * kLanes;
    const TilePlace place = {last_first_ ? begin + (tiles - 1) * size : begin, rows, column,
                             std::min(columns - last, kLanes)};
    if (columns >= 2 * kLanes) {
      RunTiles<2, false>(size, place, tiles);
    } else if (columns > kLanes) {
      RunTiles<2, true>(size, place, tiles);
    } else {
      RunTiles<1, true>(size, place, tiles);
    }
  }

  template <size_t kVectors, bool kMasked>
  void RunTiles(size_t size, const TilePlace& place, size_t tiles) const {
    using Function = void (*)(const TileTerm*, size_t, const TilePlace&, size_t, bool);
#define NL_TILE(r) SumTile<std::min<size_t>(r, kRowsOfTile), kVectors, kMasked>::Run
    static constexpr Function kTiles[] = {NL_TILE(1), NL_TILE(2), NL_TILE(3), NL_TILE(4),
                                          NL_TILE(5), NL_TILE(6), NL_TILE(7), NL_TILE(8)};
#undef NL_TILE
    kTiles[size - 1](terms_, count_, place, tiles, last_first_);
  }

  Upcoming& upcoming_;
  TileTerm terms_[kMaxTerms];
  size_t count_ = 0;
  bool last_first_ = false;
};

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target

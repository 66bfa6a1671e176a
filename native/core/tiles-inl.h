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
#if defined(NESTED_LEARNING_CORE_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_CORE_TILES_INL_H_
#undef NESTED_LEARNING_CORE_TILES_INL_H_
#else
#define NESTED_LEARNING_CORE_TILES_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "hwy/highway.h"
#include "core/arena.h"
#include "core/product-inl.h"
#include "core/upcoming.h"
#include "core/vector-inl.h"

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

// Terms on `tiles` tiles of `rows` rows by `vectors` vectors of columns, each tile below the one before, or above it when up;
// the last vector of a masked tile has place.lanes columns. Compiled in tiles.cc alone: the tiles are many, and unrolling
// them is most of a build.
void RunTiles(const TileTerm* terms, size_t count, const TilePlace& place, size_t rows,
              size_t vectors, bool masked, size_t tiles, bool up);

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
    if (rows == 0 || columns == 0) return ClearDots(rows);
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

  // Without columns no tile begins the dots.
  void ClearDots(size_t rows) const {
    for (const TileTerm* term = terms_; term < terms_ + count_; ++term) {
      if (term->kind == TileTerm::kDots) std::fill_n(term->to, rows * kRowPadding, 0.0f);
    }
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
    RunTiles(terms_, count_, place, size, columns > kLanes ? 2 : 1, columns < 2 * kLanes, tiles,
             last_first_);
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

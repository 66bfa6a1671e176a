// The tiles of tiles-inl.h.
#include "core/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/tiles.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/tiles-inl.h"
#include "core/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

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

  // The kinds of terms one after the other, in one function, as the sums are to stay in registers.
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

template <size_t kVectors, bool kMasked>
void RunTilesOf(const TileTerm* terms, size_t count, const TilePlace& place, size_t rows,
                size_t tiles, bool up) {
  using Function = void (*)(const TileTerm*, size_t, const TilePlace&, size_t, bool);
#define NL_TILE(r) SumTile<std::min<size_t>(r, kRowsOfTile), kVectors, kMasked>::Run
  static constexpr Function kTiles[] = {NL_TILE(1), NL_TILE(2), NL_TILE(3), NL_TILE(4),
                                        NL_TILE(5), NL_TILE(6), NL_TILE(7), NL_TILE(8)};
#undef NL_TILE
  kTiles[rows - 1](terms, count, place, tiles, up);
}

}  // namespace

void RunTiles(const TileTerm* terms, size_t count, const TilePlace& place, size_t rows,
              size_t vectors, bool masked, size_t tiles, bool up) {
  if (!masked) {
    RunTilesOf<2, false>(terms, count, place, rows, tiles, up);
  } else if (vectors == 2) {
    RunTilesOf<2, true>(terms, count, place, rows, tiles, up);
  } else {
    RunTilesOf<1, true>(terms, count, place, rows, tiles, up);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

// C = epilogue(op(A) op(B) + bias) + scaled residual, or that added to C; README.md has the blocking.
// A [m, k], B [k, n], C [m, n] row-major, A and B also transposed; float32 accumulation, over k in
// order in blocks of at most kPackedDepth, twice that of bfloat16 in pairs, with one accumulator each (AMX: README.md).
// Writes C (adds to it when accumulating) and, for GELU, the pre-activation.
#include "core/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/gemm.cc"
#include "hwy/foreach_target.h"
#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "core/math-inl.h"
#include "core/product-inl.h"
#include "core/vector-inl.h"
#include "kernels/adam/adam-inl.h"
#include "kernels/gemm/amx.h"
#include "kernels/gemm/bfloat16.h"

#ifndef NESTED_LEARNING_GEMM_PLAN_
#define NESTED_LEARNING_GEMM_PLAN_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

namespace nested_learning {

enum class GemmMethod {
  kDots,    // few rows by a transposed B: dot products
  kFlat,    // few rows by a large B: whole rows of B are added to C
  kDirect,  // tiles that read the operands where they lie
  kPacked   // tiles that read copies made for them
};

struct TileSize {
  int64_t rows, columns, depth;
};

// How a product is cut, from its shape and the target alone.
struct GemmPlan {
  GemmMethod method;
  bool staged;                        // whether sums wait outside C for their epilogue
  int64_t block_rows, block_columns;  // at most
  int64_t row_blocks, column_blocks;
  int64_t row_unit, column_unit;  // blocks are whole units, and as even as those can be shared out
  bool column_by_column;          // the order of the pieces
  int64_t pieces;
  // Packed only. Passes are runs of blocks of k, the operands' rows and columns padded to whole tiles.
  TileSize tile;
  int64_t step;  // how much of k a tile takes at once: 1, 2 as pairs of bfloat16, or kAmxStep
  const AmxTiles* amx;  // what multiplies tiles of bfloat16, or null
  int64_t depth_blocks, passes;
  int64_t padded_rows, padded_columns;
  int64_t pack_pieces;
  // What a call copies for itself: rows and columns at most, steps of a block of k at most (one in two steps of pairs may
  // begin early), and how many blocks of the inner operand.
  int64_t own_rows, own_columns, own_steps, window;

  // Where a block of k begins, and where a pass.
  int64_t Depth(int64_t k, int64_t block) const {
    return block == depth_blocks ? k : k * block / depth_blocks / step * step;
  }
  int64_t FirstBlock(int64_t pass) const { return depth_blocks * pass / passes; }
  // Where a block of rows begins, and where one of columns.
  int64_t Row(int64_t m, int64_t block) const {
    return std::min(m, (m + row_unit - 1) / row_unit * block / row_blocks * row_unit);
  }
  int64_t Column(int64_t n, int64_t block) const {
    return std::min(n, (n + column_unit - 1) / column_unit * block / column_blocks * column_unit);
  }
  // The steps of the blocks first .. end - 1, which are the floats of a row or column in their copies; AMX's have pairs for
  // each. None but the last of all is cut within a step.
  int64_t Steps(int64_t k, int64_t first, int64_t end) const {
    const int64_t steps = (Depth(k, end) - Depth(k, first) + step - 1) / step;
    return amx != nullptr ? steps * static_cast<int64_t>(kAmxPairs) : steps;
  }
  int64_t PassSteps(int64_t k, int64_t pass) const {
    return Steps(k, FirstBlock(pass), FirstBlock(pass + 1));
  }
};

// The tiles that one piece of packing copies.
constexpr int64_t kPackedTogether = 8;

// A residual that is C and needs no other work than adding is added by accumulating.
inline bool Accumulates(const nl_gemm_arguments& g) {
  return g.accumulate != 0 ||
         (g.residual == g.c && g.residual_scale == 1 && g.epilogue == NL_EPILOGUE_NONE);
}

// A block of C: its place among the blocks, and among the elements.
struct BlockOfC {
  int64_t row, column;
  int64_t i, j, rows, columns;
};

// Those of a symmetric product are on and below the diagonal, counted row by row.
inline BlockOfC BlockOf(const nl_gemm_arguments& g, const GemmPlan& plan, int64_t piece) {
  int64_t row = 0, column = piece;
  if (g.symmetric) {
    while (column > row) column -= ++row;
  } else if (plan.column_by_column) {
    row = piece % plan.row_blocks;
    column = piece / plan.row_blocks;
  } else {
    row = piece / plan.column_blocks;
    column = piece % plan.column_blocks;
  }
  const int64_t i = plan.Row(g.m, row), j = plan.Column(g.n, column);
  return {row, column, i, j, plan.Row(g.m, row + 1) - i, plan.Column(g.n, column + 1) - j};
}

}  // namespace nested_learning

#endif  // NESTED_LEARNING_GEMM_PLAN_

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

// ---- Epilogue ----

// One vector of columns of one row, sums + bias in z, through the epilogue.
template <class TVector>
HWY_INLINE void Finish(const nl_gemm_arguments& g, bool accumulate, bool add_residual, VecF z,
                       size_t at, TVector vector) {
  if (g.epilogue == NL_EPILOGUE_GELU) {
    if (g.pre_activation != nullptr) vector(z, g.pre_activation + at);
    z = Gelu(z);
  } else if (g.epilogue == NL_EPILOGUE_GELU_GRADIENT) {
    z = hn::Mul(z, GeluGradient(vector(g.pre_activation + at)));
  }
  if (add_residual) z = hn::MulAdd(Constant(g.residual_scale), vector(g.residual + at), z);
  if (accumulate) z = hn::Add(vector(g.c + at), z);
  vector(z, g.c + at);
}

// Adam's step on rows x columns elements, the first of them at row i, column j of w.
void Commit(const nl_gemm_arguments& p, const float* sums, size_t ld, size_t i, size_t j,
            size_t rows, size_t columns) {
  const nl_adam_arguments& adam = *p.adam;
  const AdamStep step(adam);
  const bool clear = adam.clear_gradient != 0;
  for (size_t r = 0; r < rows; ++r, sums += ld) {
    const size_t at = (i + r) * static_cast<size_t>(p.n) + j;
    float* g = adam.g == nullptr ? nullptr : adam.g + at;
    AdamElements<0>(adam, step, at, columns, [sums, g, clear](auto vector, size_t s) HWY_ATTR {
      VecF gradient = vector(sums + s);
      if (g != nullptr) {
        gradient = hn::Add(gradient, vector(g + s));
        if (clear) vector(hn::Zero(F32()), g + s);
      }
      return gradient;
    });
  }
}

// The epilogue of rows x columns sums, the first of them at row i, column j of C. Sums that stand in C have what it held
// among them.
void Epilogue(const nl_gemm_arguments& g, const float* sums, size_t ld, size_t i, size_t j,
              size_t rows, size_t columns) {
  if (g.epilogue == NL_EPILOGUE_ADAM) {
    Commit(g, sums, ld, i, j, rows, columns);
    return;
  }
  const F32 d;
  const size_t n = static_cast<size_t>(g.n);
  const bool in_place = sums == g.c + i * n + j;
  const bool accumulate = g.accumulate && !in_place;
  const bool add_residual = g.residual != nullptr && !(in_place && g.residual == g.c);
  for (size_t r = 0; r < rows; ++r) {
    const size_t at = (i + r) * n + j;
    size_t s = 0;
    for (; s + kLanes <= columns; s += kLanes) {
      VecF z = hn::LoadU(d, sums + r * ld + s);
      if (g.bias != nullptr) z = hn::Add(z, hn::LoadU(d, g.bias + j + s));
      Finish(g, accumulate, add_residual, z, at + s, WholeVector());
    }
    if (s < columns) {
      const PartOfVector part{columns - s};
      VecF z = part(sums + r * ld + s);
      if (g.bias != nullptr) z = hn::Add(z, part(g.bias + j + s));
      Finish(g, accumulate, add_residual, z, at + s, part);
    }
  }
}

// ---- Operands where they lie ----

// C [m, n] += A B, four rows of B at a time, which are read from end to end; a_row and a_step are the distances of A's
// elements along a row of C and along k.
void Flat(size_t m, size_t n, size_t k, const float* a, size_t a_row, size_t a_step, const float* b,
          size_t ldb, float* c, size_t ldc) {
  const F32 d;
  size_t p = 0;
  for (; p + 4 <= k; p += 4, a += 4 * a_step, b += 4 * ldb) {
    const float* b1 = b + ldb;
    const float* b2 = b1 + ldb;
    const float* b3 = b2 + ldb;
    size_t j = 0;
    for (; j + 2 * kLanes <= n; j += 2 * kLanes) {
      const VecF r00 = hn::LoadU(d, b + j), r01 = hn::LoadU(d, b + j + kLanes);
      const VecF r10 = hn::LoadU(d, b1 + j), r11 = hn::LoadU(d, b1 + j + kLanes);
      const VecF r20 = hn::LoadU(d, b2 + j), r21 = hn::LoadU(d, b2 + j + kLanes);
      const VecF r30 = hn::LoadU(d, b3 + j), r31 = hn::LoadU(d, b3 + j + kLanes);
      for (size_t i = 0; i < m; ++i) {
        const float* x = a + i * a_row;
        float* to = c + i * ldc + j;
        VecF s0 = hn::LoadU(d, to), s1 = hn::LoadU(d, to + kLanes);
        VecF factor = hn::Set(d, x[0]);
        s0 = hn::MulAdd(factor, r00, s0);
        s1 = hn::MulAdd(factor, r01, s1);
        factor = hn::Set(d, x[a_step]);
        s0 = hn::MulAdd(factor, r10, s0);
        s1 = hn::MulAdd(factor, r11, s1);
        factor = hn::Set(d, x[2 * a_step]);
        s0 = hn::MulAdd(factor, r20, s0);
        s1 = hn::MulAdd(factor, r21, s1);
        factor = hn::Set(d, x[3 * a_step]);
        s0 = hn::MulAdd(factor, r30, s0);
        s1 = hn::MulAdd(factor, r31, s1);
        hn::StoreU(s0, d, to);
        hn::StoreU(s1, d, to + kLanes);
      }
    }
    for (size_t i = 0; i < m && j < n; ++i) {
      for (size_t s = 0; s < 4; ++s) {
        AddScaledTo(a[i * a_row + s * a_step], b + s * ldb + j, c + i * ldc + j, n - j);
      }
    }
  }
  for (; p < k; ++p, a += a_step, b += ldb) {
    for (size_t i = 0; i < m; ++i) AddScaledTo(a[i * a_row], b, c + i * ldc, n);
  }
}

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

// Whether tiles ask for what comes next beside their own work: the next panel of B, the next product of a batch. With AVX-512 they
// are done so soon that asking costs more than it saves, two to fifteen parts in a hundred.
constexpr bool kAsksAhead = HWY_TARGET != HWY_AVX3;

// ---- Packed operands ----

// The depth of a block of k. Where the second-level cache gives the tile a panel of B as fast as the first, longer sums in
// registers save passes over C.
constexpr int64_t kPackedDepth = HWY_TARGET == HWY_AVX3 ? 512 : kDepth;

// v to the nearest bfloat16, ties to even, in the upper halves; the lower are undefined. A NaN stays one.
HWY_INLINE hn::Vec<hn::RebindToUnsigned<F32>> UpperHalfRounded(VecF v) {
  const hn::RebindToUnsigned<F32> du;
  const auto bits = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
  const auto rounded = hn::Add(hn::Add(bits, hn::Set(du, 0x7FFF)), odd);
  const auto nan = hn::Or(bits, hn::Set(du, 0x00400000));
  return hn::IfThenElse(hn::RebindMask(du, hn::Eq(v, v)), rounded, nan);
}

struct RoundToBFloat16 {
  float* x;
  template <class TVector>
  HWY_INLINE void Run(TVector vector, size_t i) {
    const hn::RebindToUnsigned<F32> du;
    const auto upper = hn::And(UpperHalfRounded(vector(x + i)), hn::Set(du, 0xFFFF0000u));
    vector(hn::BitCast(F32(), upper), x + i);
  }
};

// count columns of B or rows of A in tiles of width, k steps deep: to [tiles, k, width], the last filled up with zeros.
// from is [k, count] or, when transposed, [count, k].
void PackTiles(bool transposed, size_t width, size_t count, size_t k, const float* from, size_t ld,
               float* to) {
  const F32 d;
  const size_t whole = count / width, rest = count % width;
  if (transposed) {
    // What is written, a few rows at a time, stays in the first-level cache until it is whole.
    constexpr size_t kStripFloats = 4096;
    const size_t strip = kStripFloats / width / 4 * 4;
    for (size_t t = 0; t * width < count; ++t) {
      const float* rows = from + t * width * ld;
      for (size_t p = 0; p < k; p += strip) {
        Transpose(std::min(width, count - t * width), std::min(strip, k - p), rows + p, ld,
                  to + (t * k + p) * width, width);
      }
    }
  } else {
    // Row by row, as the rows of a large matrix lie in pages of their own. Vectors run over a tile's end into what is
    // written later, but at the end of all.
    const size_t over = (width + kLanes - 1) / kLanes * kLanes - width;
    constexpr size_t kAhead = 4, kLine = 16;
    for (size_t p = 0; p < k; ++p) {
      const float* row = from + p * ld;
      for (size_t s = 0; s < count; s += kLine) hwy::Prefetch(row + kAhead * ld + s);
      for (size_t t = 0; t < whole; ++t) {
        float* tile = to + (t * k + p) * width;
        if (over > 0 && (p + 1 == k || (t + 1) * width + over > count)) {
          std::copy(row + t * width, row + t * width + width, tile);
          continue;
        }
        for (size_t s = 0; s < width; s += kLanes) {
          hn::StoreU(hn::LoadU(d, row + t * width + s), d, tile + s);
        }
      }
      for (size_t s = 0; s < rest; ++s) to[(whole * k + p) * width + s] = row[whole * width + s];
    }
  }
  for (size_t p = 0; rest > 0 && p < k; ++p) {
    float* tile = to + (whole * k + p) * width;
    std::fill(tile + rest, tile + width, 0.0f);
  }
}

#if HWY_TARGET == HWY_AVX3

// What is rounded in the upper halves of lower and upper, as one: pairs.
template <class TVec>
HWY_INLINE VecF Pairs(TVec lower, TVec upper) {
  const hn::RebindToUnsigned<F32> du;
  const auto high = hn::And(upper, hn::Set(du, 0xFFFF0000u));
  return hn::BitCast(F32(), hn::Or(hn::ShiftRight<16>(lower), high));
}

// Neighbours of one row: to [ceil(k / 2)].
HWY_INLINE void PairsOfRow(const float* from, size_t k, float* to) {
  const F32 d;
  const hn::RebindToUnsigned<F32> du;
  for (size_t p = 0; p < k; p += 2 * kLanes) {
    const size_t first = std::min(kLanes, k - p), second = std::min(2 * kLanes, k - p) - first;
    const VecF low = first < kLanes ? LoadPart(from + p, first) : hn::LoadU(d, from + p);
    const VecF high =
        second < kLanes ? LoadPart(from + p + kLanes, second) : hn::LoadU(d, from + p + kLanes);
    const auto x = UpperHalfRounded(low), y = UpperHalfRounded(high);
    StorePart(Pairs(hn::ConcatEven(du, y, x), hn::ConcatOdd(du, y, x)), to + p / 2,
              std::min(kLanes, (k - p + 1) / 2));
  }
}

// PackTiles rounded to bfloat16, two steps of k in a float's place: to [tiles, steps, width], zeros from ceil(k / 2) on.
void PackPairs(bool transposed, size_t width, size_t count, size_t k, size_t steps,
               const float* from, size_t ld, float* to) {
  const size_t pairs = (k + 1) / 2;
  for (size_t t = 0; pairs < steps && t < count; t += width) {
    std::fill(to + (t * steps + pairs * width), to + (t + width) * steps, 0.0f);
  }
  if (transposed) {
    constexpr size_t kStrip = 64;
    HWY_ALIGN float strip[kTileColumns * kStrip];
    for (size_t t = 0; t < count; t += width, to += width * steps) {
      const size_t rows = std::min(width, count - t);
      for (size_t p = 0; p < k; p += 2 * kStrip) {
        const size_t depth = std::min(2 * kStrip, k - p);
        for (size_t r = 0; r < rows; ++r) {
          PairsOfRow(from + (t + r) * ld + p, depth, strip + r * kStrip);
        }
        float* tile = to + p / 2 * width;
        Transpose(rows, (depth + 1) / 2, strip, kStrip, tile, width);
        for (size_t s = 0; rows < width && s < (depth + 1) / 2; ++s) {
          std::fill(tile + s * width + rows, tile + (s + 1) * width, 0.0f);
        }
      }
    }
    return;
  }
  const F32 d;
  for (size_t s = 0; s < pairs; ++s) {
    const float* even = from + 2 * s * ld;
    const bool has_odd = 2 * s + 1 < k;
    for (size_t t = 0; t < count; t += width) {
      float* tile = to + (t * steps + s * width);
      for (size_t j = 0; j < width; j += kLanes) {
        // Of the last tile the columns beyond are zeros.
        const size_t lanes = std::min(kLanes, width - j);
        const size_t given = std::min(lanes, count - std::min(count, t + j));
        const float* at = even + t + j;
        VecF x, y = hn::Zero(d);
        if (given == kLanes) {
          x = hn::LoadU(d, at);
          if (has_odd) y = hn::LoadU(d, at + ld);
        } else {
          x = LoadPart(at, given);
          if (has_odd) y = LoadPart(at + ld, given);
        }
        const VecF z = Pairs(UpperHalfRounded(x), UpperHalfRounded(y));
        if (lanes == kLanes) {
          hn::StoreU(z, d, tile + j);
        } else {
          StorePart(z, tile + j, lanes);
        }
      }
    }
  }
}

#else

// Tiles that take pairs go with AVX3: elsewhere only the model of AMX in tests asks for them.
void PackPairs(bool transposed, size_t width, size_t count, size_t k, size_t steps,
               const float* from, size_t ld, float* to) {
  HWY_ALIGN float two[2 * kLanes] = {};
  RoundToBFloat16 round = {two};
  for (size_t t = 0; t < count; t += width) {
    for (size_t s = 0; s < steps; ++s) {
      for (size_t j = t; j < t + width; ++j, ++to) {
        for (size_t p = 2 * s; p < 2 * s + 2; ++p) {
          const bool given = j < count && p < k;
          two[p - 2 * s] = given ? from[transposed ? j * ld + p : p * ld + j] : 0;
        }
        ForEachVector(2, round);
        uint32_t halves[2];
        std::memcpy(halves, two, sizeof(halves));
        halves[1] |= halves[0] >> 16;
        std::memcpy(to, halves + 1, sizeof(float));
      }
    }
  }
}

#endif

// The rows of A in tiles of AMX: to [blocks of kAmxRows][ceil(k / kAmxStep)][kAmxRows][kAmxStep bfloat16], zeros past an edge.
// from is [k, count] or, when transposed, [count, k].
void PackAmxRows(bool transposed, size_t count, size_t k, const float* from, size_t ld, float* to) {
  const hn::Rebind<uint16_t, F32> d16;
  HWY_ALIGN float strip[kAmxRows * kAmxStep];
  for (size_t t = 0; t < count; t += kAmxRows) {
    const size_t rows = std::min(kAmxRows, count - t);
    for (size_t p = 0; p < k; p += kAmxStep, to += kAmxRows * kAmxPairs) {
      const size_t depth = std::min(kAmxStep, k - p);
      if (rows < kAmxRows || depth < kAmxStep) std::fill_n(strip, kAmxRows * kAmxStep, 0.0f);
      if (transposed) {
        for (size_t r = 0; r < rows; ++r) {
          std::copy_n(from + (t + r) * ld + p, depth, strip + r * kAmxStep);
        }
      } else {
        Transpose(depth, rows, from + p * ld + t, ld, strip, kAmxStep);
      }
      uint16_t* rounded = reinterpret_cast<uint16_t*>(to);
      for (size_t i = 0; i < kAmxRows * kAmxStep; i += kLanes) {
        const auto bits = hn::ShiftRight<16>(UpperHalfRounded(hn::Load(F32(), strip + i)));
        hn::StoreU(hn::DemoteTo(d16, hn::BitCast(I32(), bits)), d16, rounded + i);
      }
    }
  }
}

// One block of k of count columns of B, or rows of A, from column or row `at` on: to [tiles][steps][width of a tile].
void PackBlock(const nl_gemm_arguments& g, const GemmPlan& plan, bool is_b, int64_t block,
               int64_t at, int64_t count, float* to) {
  const int64_t width = is_b ? plan.tile.columns : plan.tile.rows;
  const bool transposed = is_b ? g.transpose_b != 0 : g.transpose_a == 0;
  const int64_t ld = transposed ? g.k : is_b ? g.n : g.m;
  const int64_t p = plan.Depth(g.k, block);
  const int64_t depth = plan.Depth(g.k, block + 1) - p;
  const int64_t steps = plan.Steps(g.k, block, block + 1);
  const float* from = (is_b ? g.b : g.a) + (transposed ? at * ld + p : p * ld + at);
  if (plan.amx != nullptr && !is_b) {
    PackAmxRows(transposed, count, depth, from, ld, to);
    return;
  }
  if (plan.step > 1) {
    PackPairs(transposed, width, count, depth, steps, from, ld, to);
    return;
  }
  PackTiles(transposed, width, count, depth, from, ld, to);
  if (g.precision == NL_PRECISION_BFLOAT16) {
    RoundToBFloat16 round = {to};
    ForEachVector((count + width - 1) / width * width * steps, round);
  }
}

// Piece: kPackedTogether panels of B or row tiles of A, over all blocks of k of the pass.
// packed: B as [blocks][panels][steps][tile.columns], then A as [blocks][tiles][steps][tile.rows], for AMX with its rows in
// PackAmxRows' order.
void PackPiece(const nl_gemm_arguments& g, const GemmPlan& plan, int64_t pass, int64_t piece,
               float* packed) {
  const int64_t panel = kPackedTogether * plan.tile.columns;
  const int64_t pieces_of_b = (g.n + panel - 1) / panel;
  const bool is_b = piece < pieces_of_b;
  const int64_t width = is_b ? plan.tile.columns : plan.tile.rows;
  const int64_t padded = is_b ? plan.padded_columns : plan.padded_rows;
  const int64_t at = (is_b ? piece : piece - pieces_of_b) * kPackedTogether * width;
  const int64_t count = std::min(kPackedTogether * width, (is_b ? g.n : g.m) - at);
  float* to = packed + (is_b ? 0 : plan.PassSteps(g.k, pass) * plan.padded_columns);
  for (int64_t block = plan.FirstBlock(pass); block < plan.FirstBlock(pass + 1); ++block) {
    const int64_t steps = plan.Steps(g.k, block, block + 1);
    PackBlock(g, plan, is_b, block, at, count, to + at * steps);
    to += padded * steps;
  }
}

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

// Copies rows x columns elements, the first at row i, column j of C, to their places across the diagonal: in squares, so that
// lines are written whole. On the diagonal only from below it.
void Mirror(int64_t i, int64_t j, int64_t rows, int64_t columns, float* c, int64_t n) {
  constexpr int64_t kSquare = 16;
  for (int64_t r = i; r < i + rows; r += kSquare) {
    for (int64_t s = j; s < j + columns && s <= r; s += kSquare) {
      const int64_t r_end = std::min(r + kSquare, i + rows);
      const int64_t s_end = std::min(s + kSquare, j + columns);
      if (s < r) {
        // Lines that lie a power of two apart share one set of the first-level cache: each is written at once.
        HWY_ALIGN float square[kSquare * kSquare];
        Transpose(r_end - r, s_end - s, c + r * n + s, n, square, kSquare);
        for (int64_t q = s; q < s_end; ++q) {
          std::copy_n(square + (q - s) * kSquare, r_end - r, c + q * n + r);
        }
        continue;
      }
      for (int64_t p = r; p < r_end; ++p) {
        for (int64_t q = s; q < p; ++q) c[q * n + p] = c[p * n + q];
      }
    }
  }
}

// One block of k of one block of C. a and b: the copies of its rows and columns; sums: its first element.
void MultiplyBlock(const nl_gemm_arguments& g, const GemmPlan& plan, const BlockOfC& at,
                   int64_t block, const float* a, const float* b, float* sums, int64_t ld) {
  const int64_t i = at.i, j = at.j, rows = at.rows, columns = at.columns;
  const int64_t steps = plan.Steps(g.k, block, block + 1);
  const bool add = block > 0 || (!plan.staged && Accumulates(g));
  const bool last = block + 1 == plan.depth_blocks;
  const bool finishes =
      g.bias != nullptr || g.residual != nullptr || g.epilogue != NL_EPILOGUE_NONE;
  const int64_t tile_rows = plan.tile.rows, tile_columns = plan.tile.columns;
  const auto multiply = [&](int64_t r, int64_t s) HWY_ATTR {
    const int64_t m = std::min(tile_rows, rows - r);
    const int64_t n = std::min(tile_columns, columns - s);
    if (g.symmetric && i + r + m <= j + s) return;  // mirrored
    const float* panel = b + s * steps;
    if (kAsksAhead) {
      PrefetchPart(panel + tile_columns * steps, tile_columns * steps, r, m, rows);
    }
    if (last) PrefetchEpilogue(g, i + r, j + s, m);
    if (plan.amx != nullptr) {
      plan.amx->multiply(add, steps / kAmxPairs, a + r * steps, panel, sums + r * ld + s, ld, m, n);
      return;
    }
    const size_t vectors = n > static_cast<int64_t>(kLanes) ? 2 : 1;
    PackedTileOf(plan, m, vectors)(add, steps, a + r * steps, panel, sums + r * ld + s, ld,
                                   n - (vectors - 1) * kLanes);
  };
  // The epilogue follows while its columns are in the second-level cache, and takes rows of some length.
  const int64_t group_columns = kPackedTogether * tile_columns;
  for (int64_t group = 0; group < columns; group += group_columns) {
    const int64_t group_end = std::min(group + group_columns, columns);
    if (last && g.adam != nullptr) {
      // What it reads of w, m and v would not stay there until all rows are summed: rows of a power of two share few sets.
      for (int64_t r = 0; r < rows; r += tile_rows) {
        for (int64_t s = group; s < group_end; s += tile_columns) multiply(r, s);
        Epilogue(g, sums + r * ld + group, ld, i + r, j + group, std::min(tile_rows, rows - r),
                 group_end - group);
      }
      continue;
    }
    for (int64_t s = group; s < group_end; s += tile_columns) {
      for (int64_t r = 0; r < rows; r += tile_rows) multiply(r, s);
    }
    if (last && finishes) {
      Epilogue(g, sums + group, ld, i, j + group, rows, group_end - group);
    }
  }
}

// Where the sums of a block of C grow, and how far its rows are apart.
HWY_INLINE std::pair<float*, int64_t> SumsOf(const nl_gemm_arguments& g, const GemmPlan& plan,
                                             const BlockOfC& at, float* workspace) {
  if (plan.staged) return {workspace, plan.block_columns};
  return {g.c + at.i * g.n + at.j, g.n};
}

// A block of C from copies that all pieces share.
void PackedPiece(const nl_gemm_arguments& g, const GemmPlan& plan, int64_t pass, int64_t piece,
                 const float* packed, float* workspace) {
  const AmxScope tiles(plan.amx);
  const BlockOfC at = BlockOf(g, plan, piece);
  const auto [sums, ld] = SumsOf(g, plan, at, workspace);
  const float* b = packed;
  const float* a = packed + plan.PassSteps(g.k, pass) * plan.padded_columns;
  const int64_t end = plan.FirstBlock(pass + 1);
  for (int64_t block = plan.FirstBlock(pass); block < end; ++block) {
    const int64_t steps = plan.Steps(g.k, block, block + 1);
    MultiplyBlock(g, plan, at, block, a + at.i * steps, b + at.j * steps, sums, ld);
    a += plan.padded_rows * steps;
    b += plan.padded_columns * steps;
  }
  if (g.symmetric && end == plan.depth_blocks) {
    Mirror(at.i, at.j, at.rows, at.columns, g.c, g.n);
  }
}

// Pieces begin .. end - 1 from copies that this call makes for itself, block of k by block of k: no thread waits for another's
// copies, nor reads what another has just written. Of the operand that the order of the pieces changes slowly one block is
// kept, of the other a window of blocks, each copied when it is first needed.
void OwnRun(const nl_gemm_arguments& g, const GemmPlan& plan, int64_t pass, int64_t begin,
            int64_t end, float* workspace) {
  const bool by_column = plan.column_by_column;
  float* const a = workspace + (plan.staged ? plan.block_rows * plan.block_columns : 0);
  float* const b = a + plan.own_rows * plan.own_steps;
  const int64_t inner_blocks = by_column ? plan.row_blocks : plan.column_blocks;
  for (int64_t window = 0; window < inner_blocks; window += plan.window) {
    for (int64_t block = plan.FirstBlock(pass); block < plan.FirstBlock(pass + 1); ++block) {
      const int64_t steps = plan.Steps(g.k, block, block + 1);
      int64_t outer_copied = -1;
      uint64_t inner_copied = 0;
      for (int64_t piece = begin; piece < end; ++piece) {
        const BlockOfC at = BlockOf(g, plan, piece);
        const int64_t inner = (by_column ? at.row : at.column) - window;
        if (inner < 0 || inner >= plan.window) continue;
        const int64_t outer = by_column ? at.column : at.row;
        float* a_block = a + (by_column ? at.i - plan.Row(g.m, window) : 0) * steps;
        float* b_block = b + (by_column ? 0 : at.j - plan.Column(g.n, window)) * steps;
        const bool copies_inner = (inner_copied >> inner & 1) == 0;
        const bool copies_outer = outer != outer_copied;
        if (by_column ? copies_inner : copies_outer) {
          PackBlock(g, plan, false, block, at.i, at.rows, a_block);
        }
        if (by_column ? copies_outer : copies_inner) {
          PackBlock(g, plan, true, block, at.j, at.columns, b_block);
        }
        inner_copied |= uint64_t{1} << inner;
        outer_copied = outer;
        const auto [sums, ld] = SumsOf(g, plan, at, workspace);
        MultiplyBlock(g, plan, at, block, a_block, b_block, sums, ld);
        if (g.symmetric && block + 1 == plan.depth_blocks) {
          Mirror(at.i, at.j, at.rows, at.columns, g.c, g.n);
        }
      }
    }
  }
}

void OwnPieces(const nl_gemm_arguments& g, const GemmPlan& plan, int64_t pass, int64_t begin,
               int64_t end, float* workspace) {
  const AmxScope tiles(plan.amx);
  if (!plan.staged) {
    OwnRun(g, plan, pass, begin, end, workspace);
    return;
  }
  // The sums of one piece wait in the workspace.
  for (int64_t piece = begin; piece < end; ++piece) {
    OwnRun(g, plan, pass, piece, piece + 1, workspace);
  }
}

// ---- Batches ----

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

#if HWY_TARGET == HWY_AVX3
static_assert(kTileRows == kPairTileRows && kTileColumns == kPairTileColumns);
#endif

TileSize SizeOfTile() { return {kTileRows, kTileColumns, kPackedDepth}; }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include "kernels/adam/adam.h"

namespace nested_learning {

NL_TARGET_TABLE(DirectPiece);
NL_TARGET_TABLE(PackPiece);
NL_TARGET_TABLE(PackedPiece);
NL_TARGET_TABLE(OwnPieces);
NL_TARGET_TABLE(BatchPieces);
NL_TARGET_TABLE(SizeOfTile);

namespace {

int64_t Blocks(int64_t count, int64_t block) { return (count + block - 1) / block; }

// Blocks of C: the largest that still give every core of a usual machine something to do. Smaller ones
// read more of both operands for the same work.
template <size_t kSizes>
void Cut(const nl_gemm_arguments& g, const int64_t (&sizes)[kSizes][2], GemmPlan& plan) {
  constexpr int64_t kWantedPieces = 16;
  for (const auto& size : sizes) {
    plan.block_rows = std::min(g.m, size[0]);
    plan.block_columns = std::min(g.n, size[1]);
    plan.row_blocks = Blocks(g.m, plan.block_rows);
    plan.column_blocks = Blocks(g.n, plan.block_columns);
    plan.pieces = g.symmetric ? plan.row_blocks * (plan.row_blocks + 1) / 2
                              : plan.row_blocks * plan.column_blocks;
    if (plan.pieces >= kWantedPieces) break;
  }
  plan.row_unit = plan.block_rows;
  plan.column_unit = plan.block_columns;
}

// Whole tiles, shared out evenly among the blocks.
void CutEvenly(const nl_gemm_arguments& g, GemmPlan& plan) {
  plan.row_unit = plan.tile.rows;
  plan.column_unit = plan.tile.columns;
  plan.block_rows = Blocks(Blocks(g.m, plan.row_unit), plan.row_blocks) * plan.row_unit;
  plan.block_columns = Blocks(Blocks(g.n, plan.column_unit), plan.column_blocks) * plan.column_unit;
}

// Calls that copy for themselves: each copies one operand whole and its share of the other, so the larger is shared out.
void PlanOwnCopies(const nl_gemm_arguments& g, GemmPlan& plan) {
  // Rows or columns of the operand that is kept: at most 4 MiB of it, and a bit for each block.
  constexpr int64_t kKept = 2048;
  plan.column_by_column = !g.symmetric && g.n > g.m;
  const int64_t inner = plan.column_by_column ? plan.block_rows : plan.block_columns;
  const int64_t blocks = plan.column_by_column ? plan.row_blocks : plan.column_blocks;
  plan.window = std::min(blocks, std::max<int64_t>(1, kKept / inner));
  const auto padded = [](int64_t size, int64_t tile) { return Blocks(size, tile) * tile; };
  const int64_t rows = plan.block_rows * (plan.column_by_column ? plan.window : 1);
  const int64_t columns = plan.block_columns * (plan.column_by_column ? 1 : plan.window);
  // Floats of a row or column in a block that begins early.
  plan.own_steps = plan.tile.depth + plan.step - 1;
  plan.own_rows = padded(rows, plan.tile.rows);
  plan.own_columns = padded(columns, plan.tile.columns);
}

// A product with one column of B is one with one row of A, whose dot products read A from end to end; and a vector is its
// own transpose.
nl_gemm_arguments Simplified(const nl_gemm_arguments& arguments) {
  nl_gemm_arguments g = arguments;
  if (g.n == 1 && g.m > 1 && g.bias == nullptr && !g.symmetric) {
    std::swap(g.m, g.n);
    std::swap(g.a, g.b);
    std::swap(g.transpose_a, g.transpose_b);
    g.transpose_a = g.transpose_a == 0;
    g.transpose_b = g.transpose_b == 0;
  }
  if (g.m == 1) g.transpose_a = 0;
  if (g.n == 1) g.transpose_b = 1;
  return g;
}

GemmMethod MethodOf(const nl_gemm_arguments& g) {
  constexpr int64_t kFewRows = 8;
  // What the second-level cache holds, in floats.
  constexpr int64_t kCached = 1 << 17;
  const int64_t work = g.m * g.n * g.k;
  if (g.k > 0 && (g.precision != NL_PRECISION_FLOAT32 || g.symmetric)) return GemmMethod::kPacked;
  if (g.m <= kFewRows && g.transpose_b && !g.transpose_a) return GemmMethod::kDots;
  // The elements of a column of A that is not transposed share few sets of the first-level cache.
  if (g.m <= (g.transpose_a ? 2 * kFewRows : kFewRows) && !g.transpose_b && g.k * g.n > kCached)
    return GemmMethod::kFlat;
  if (g.m >= 48 && g.n >= 128 && g.k >= 32 && work >= 1 << 22) return GemmMethod::kPacked;
  return GemmMethod::kDirect;
}

GemmPlan MakePlan(const nl_gemm_arguments& g) {
  GemmPlan plan = {};
  plan.passes = 1;
  plan.method = MethodOf(g);
  const bool finishes =
      g.bias != nullptr || g.residual != nullptr || g.epilogue != NL_EPILOGUE_NONE;
  if (plan.method != GemmMethod::kPacked) {
    constexpr int64_t kBlocks[][2] = {{192, 256}, {96, 256}, {96, 128}, {48, 128}, {48, 64}};
    constexpr int64_t kFlatBlocks[][2] = {{16, 256}};
    if (plan.method == GemmMethod::kFlat) {
      Cut(g, kFlatBlocks, plan);
    } else {
      Cut(g, kBlocks, plan);
    }
    // A large matrix' rows would share few sets of the first-level cache.
    plan.staged = finishes || plan.method == GemmMethod::kFlat;
    return plan;
  }
  // Whole tiles of every target, and for a symmetric product the same blocks each way.
  constexpr int64_t kBlocks[][2] = {{192, 512}, {192, 256}, {96, 256}, {96, 128}};
  constexpr int64_t kSymmetricBlocks[][2] = {{192, 192}, {96, 96}};
  // Packed at once, in floats: what the third-level cache holds.
  constexpr int64_t kPackedFloats = 1 << 22;
  plan.tile = NL_CALL(SizeOfTile)();
  plan.step = 1;
  if (g.precision == NL_PRECISION_BFLOAT16) {
    plan.amx = AmxTilesFor(g.m, g.n, g.k);
    if (plan.amx != nullptr) {
      plan.tile = {kAmxRows, kAmxColumns, plan.tile.depth};
      plan.step = kAmxStep;
    } else if (HasPairTiles()) {
      plan.step = 2;
    }
  }
  if (g.symmetric) {
    Cut(g, kSymmetricBlocks, plan);
  } else {
    Cut(g, kBlocks, plan);
    CutEvenly(g, plan);
  }
  // Sums grow in C itself, but where it is still wanted as it was.
  if (g.epilogue == NL_EPILOGUE_ADAM) {
    plan.staged = true;
  } else {
    plan.staged = g.residual == g.c ? g.accumulate || !Accumulates(g)
                                    : g.accumulate && g.epilogue != NL_EPILOGUE_NONE;
  }
  // What is copied in pairs may be twice as deep in the same memory.
  plan.depth_blocks = Blocks(g.k, (plan.step > 1 ? 2 : 1) * plan.tile.depth);
  PlanOwnCopies(g, plan);
  plan.padded_rows = Blocks(g.m, plan.tile.rows) * plan.tile.rows;
  plan.padded_columns = Blocks(g.n, plan.tile.columns) * plan.tile.columns;
  const int64_t block_floats = (plan.padded_rows + plan.padded_columns) * plan.tile.depth;
  if (!plan.staged) {
    plan.passes =
        std::min(plan.depth_blocks, Blocks(plan.depth_blocks * block_floats, kPackedFloats));
  }
  plan.pack_pieces = Blocks(g.n, kPackedTogether * plan.tile.columns) +
                     Blocks(g.m, kPackedTogether * plan.tile.rows);
  return plan;
}

int64_t PackedFloats(const nl_gemm_arguments& g, const GemmPlan& plan) {
  int64_t steps = 0;
  for (int64_t pass = 0; pass < plan.passes && plan.method == GemmMethod::kPacked; ++pass) {
    steps = std::max(steps, plan.PassSteps(g.k, pass));
  }
  return steps * (plan.padded_rows + plan.padded_columns);
}

void RequireAdamWhereItIsTaken(const nl_gemm_arguments& g) {
  if (g.epilogue != NL_EPILOGUE_ADAM) {
    if (g.adam != nullptr) {
      throw Error(NL_INVALID_ARGUMENT, "adam is given, expected null without its epilogue");
    }
    return;
  }
  RequireAdam(RequireArguments(g.adam, "nl_adam_arguments"));
  if (g.c != nullptr || g.accumulate != 0 || g.bias != nullptr || g.pre_activation != nullptr ||
      g.residual != nullptr || g.adam->sums != nullptr) {
    throw Error(NL_INVALID_ARGUMENT,
                "c, accumulate, a bias, pre_activation, residual or sums is given, expected none "
                "where the product ends in Adam");
  }
}

const nl_gemm_arguments& RequireGemm(const nl_gemm_arguments* arguments) {
  const auto& g = RequireArguments(arguments, "nl_gemm_arguments");
  RequireNotNegative(g.m, "m");
  RequireNotNegative(g.n, "n");
  RequireNotNegative(g.k, "k");
  RequireOneOf(g.epilogue, NL_EPILOGUE_ADAM, "epilogue");
  RequireOneOf(g.precision, NL_PRECISION_BFLOAT16, "precision");
  if (g.symmetric) {
    if (g.m != g.n) ThrowValue("n", g.n, "m, as the product is symmetric");
    if (g.epilogue != NL_EPILOGUE_NONE) {
      ThrowValue("epilogue", g.epilogue, "0, as the product is symmetric");
    }
    if (g.bias != nullptr) {
      throw Error(NL_INVALID_ARGUMENT, "bias is given, expected null, as the product is symmetric");
    }
  }
  if (g.m > 0 && g.n > 0) {
    if (g.k > 0) {
      RequireNotNull(g.a, "a");
      RequireNotNull(g.b, "b");
    }
    if (g.epilogue != NL_EPILOGUE_ADAM) RequireNotNull(g.c, "c");
    if (g.epilogue == NL_EPILOGUE_GELU_GRADIENT) RequireNotNull(g.pre_activation, "pre_activation");
  }
  RequireAdamWhereItIsTaken(g);
  return g;
}

nl_gemm_arguments Check(const nl_gemm_arguments* arguments) {
  return Simplified(RequireGemm(arguments));
}

// That nothing is asked for but a product, or one added to C.
void RequirePlain(const nl_gemm_arguments& g) {
  if (g.bias != nullptr || g.residual != nullptr || g.epilogue != NL_EPILOGUE_NONE ||
      g.precision != NL_PRECISION_FLOAT32 || g.symmetric != 0) {
    throw Error(
        NL_INVALID_ARGUMENT,
        "a bias, epilogue, residual, precision or symmetry is given, expected none in a batch");
  }
}

GemmPlan PlanOf(const nl_gemm_arguments& g) {
  return g.m > 0 && g.n > 0 ? MakePlan(g) : GemmPlan{};
}

int64_t Workspace(const GemmPlan& plan) {
  int64_t floats = plan.staged ? plan.block_rows * plan.block_columns : 0;
  // Beside the sums those of one block of k.
  if (plan.method == GemmMethod::kFlat) floats *= 2;
  return floats + (plan.own_rows + plan.own_columns) * plan.own_steps;
}

void Pieces(const nl_gemm_arguments& g, const GemmPlan& plan, int64_t pass, int64_t begin,
            int64_t end, const float* packed, float* workspace) {
  const bool own = plan.method == GemmMethod::kPacked && packed == nullptr;
  if (plan.staged || own) RequireNotNull(workspace, "workspace");
  if (own) {
    NL_CALL(OwnPieces)(g, plan, pass, begin, end, workspace);
    return;
  }
  for (int64_t piece = begin; piece < end; ++piece) {
    if (plan.method == GemmMethod::kPacked) {
      NL_CALL(PackedPiece)(g, plan, pass, piece, packed, workspace);
    } else {
      NL_CALL(DirectPiece)(g, plan, piece, workspace);
    }
  }
}

void RequirePass(int64_t pass, const GemmPlan& plan) {
  if (pass < 0 || pass >= plan.passes) {
    ThrowValue("pass", pass, "one of the plan's");
  }
}

}  // namespace
}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" {

int32_t nl_gemm_plan(const nl_gemm_arguments* arguments, nl_gemm_sizes* sizes) {
  return nl::Export([&] {
    const nl_gemm_arguments g = nl::Check(arguments);
    const nl::GemmPlan plan = nl::PlanOf(g);
    nl::RequireArguments(sizes, "nl_gemm_sizes");
    sizes->passes = plan.passes;
    sizes->pack_pieces = plan.pack_pieces;
    sizes->pieces = plan.pieces;
    sizes->packed = nl::PackedFloats(g, plan);
    sizes->workspace = nl::Workspace(plan);
  });
}

int32_t nl_gemm_pack(const nl_gemm_arguments* arguments, int64_t pass, int64_t begin, int64_t end,
                     float* packed) {
  return nl::Export([&] {
    const nl_gemm_arguments g = nl::Check(arguments);
    const nl::GemmPlan plan = nl::PlanOf(g);
    nl::RequireRange(begin, end, plan.pack_pieces);
    if (begin == end) return;
    nl::RequirePass(pass, plan);
    nl::RequireNotNull(packed, "packed");
    const auto pack = NL_CALL(PackPiece);
    for (int64_t piece = begin; piece < end; ++piece) (*pack)(g, plan, pass, piece, packed);
  });
}

int32_t nl_gemm(const nl_gemm_arguments* arguments, int64_t pass, int64_t begin, int64_t end,
                const float* packed, float* workspace) {
  return nl::Export([&] {
    const nl_gemm_arguments g = nl::Check(arguments);
    const nl::GemmPlan plan = nl::PlanOf(g);
    nl::RequireRange(begin, end, plan.pieces);
    if (begin == end) return;
    nl::RequirePass(pass, plan);
    nl::Pieces(g, plan, pass, begin, end, packed, workspace);
  });
}

int32_t nl_batched_gemm(const nl_gemm_arguments* arguments, int64_t batch, int64_t begin,
                        int64_t end) {
  return nl::Export([&] {
    const nl_gemm_arguments& g = nl::RequireGemm(arguments);
    nl::RequireNotNegative(batch, "batch");
    nl::RequireRange(begin, end, batch);
    nl::RequirePlain(g);
    if (g.m > 0 && g.n > 0) NL_CALL(BatchPieces)(g, begin, end);
  });
}

}  // extern "C"

#endif  // HWY_ONCE

// Copies of operands in the order in which tiles read them, rounded where that is asked for. Per target.
#if defined(NESTED_LEARNING_KERNELS_GEMM_PACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_GEMM_PACK_INL_H_
#undef NESTED_LEARNING_KERNELS_GEMM_PACK_INL_H_
#else
#define NESTED_LEARNING_KERNELS_GEMM_PACK_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "core/product-inl.h"
#include "core/vector-inl.h"
#include "kernels/gemm/amx.h"
#include "kernels/gemm/plan.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

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

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target

// Products by tiles that read copies: those that all pieces share, or those that a call makes for itself. Per target.
#if defined(NESTED_LEARNING_KERNELS_GEMM_PACKED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_GEMM_PACKED_INL_H_
#undef NESTED_LEARNING_KERNELS_GEMM_PACKED_INL_H_
#else
#define NESTED_LEARNING_KERNELS_GEMM_PACKED_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "hwy/highway.h"
#include "core/product-inl.h"
#include "core/vector-inl.h"
#include "kernels/gemm/amx.h"
#include "kernels/gemm/epilogue-inl.h"
#include "kernels/gemm/pack-inl.h"
#include "kernels/gemm/plan.h"
#include "kernels/gemm/prefetch-inl.h"
#include "kernels/gemm/tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

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

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target

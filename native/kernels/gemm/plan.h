// How a product is cut, from its shape and the target alone.
#ifndef NESTED_LEARNING_KERNELS_GEMM_PLAN_H_
#define NESTED_LEARNING_KERNELS_GEMM_PLAN_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/gemm/amx.h"
#include "nested_learning.h"

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

// The tile of packed operands and the depth of a block of k, of the target in use.
TileSize PackedTileSize();

// The product that is computed in place of this one: transposed where that is better, or the same.
nl_gemm_arguments Simplified(const nl_gemm_arguments& arguments);

// Of what Simplified gave; without pieces where C is empty.
GemmPlan PlanOf(const nl_gemm_arguments& g);

// Floats of the copies that all pieces of a pass share, and of what each call needs to itself.
int64_t PackedFloats(const nl_gemm_arguments& g, const GemmPlan& plan);
int64_t WorkspaceFloats(const GemmPlan& plan);

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_GEMM_PLAN_H_

#include "kernels/gemm/plan.h"

#include <utility>

#include "kernels/gemm/bfloat16.h"

namespace nested_learning {
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

GemmMethod MethodOf(const nl_gemm_arguments& g) {
  constexpr int64_t kFewRows = 8;
  // What the second-level cache holds, in floats.
  constexpr int64_t kCached = 1 << 17;
  const double work =
      static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(g.k);
  if (g.k > 0 && (g.precision != NL_PRECISION_FLOAT32 || g.symmetric)) return GemmMethod::kPacked;
  if (g.m <= kFewRows && g.transpose_b && !g.transpose_a) return GemmMethod::kDots;
  // The elements of a column of A that is not transposed share few sets of the first-level cache.
  if (g.m <= (g.transpose_a ? 2 * kFewRows : kFewRows) && !g.transpose_b && g.k * g.n > kCached)
    return GemmMethod::kFlat;
  if (g.m >= 48 && g.n >= 128 && g.k >= 32 && work >= 1 << 22) return GemmMethod::kPacked;
  return GemmMethod::kDirect;
}

void PlanUnpacked(const nl_gemm_arguments& g, bool finishes, GemmPlan& plan) {
  constexpr int64_t kBlocks[][2] = {{192, 256}, {96, 256}, {96, 128}, {48, 128}, {48, 64}};
  constexpr int64_t kFlatBlocks[][2] = {{16, 256}};
  if (plan.method == GemmMethod::kFlat) {
    Cut(g, kFlatBlocks, plan);
  } else {
    Cut(g, kBlocks, plan);
  }
  // A large matrix' rows would share few sets of the first-level cache.
  plan.staged = finishes || plan.method == GemmMethod::kFlat;
}

void PlanPacked(const nl_gemm_arguments& g, GemmPlan& plan) {
  // Whole tiles of every target, and for a symmetric product the same blocks each way.
  constexpr int64_t kBlocks[][2] = {{192, 512}, {192, 256}, {96, 256}, {96, 128}};
  constexpr int64_t kSymmetricBlocks[][2] = {{192, 192}, {96, 96}};
  // Packed at once, in floats: what the third-level cache holds.
  constexpr int64_t kPackedFloats = 1 << 22;
  plan.tile = PackedTileSize();
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
}

GemmPlan MakePlan(const nl_gemm_arguments& g) {
  GemmPlan plan = {};
  plan.passes = 1;
  plan.method = MethodOf(g);
  const bool finishes =
      g.bias != nullptr || g.residual != nullptr || g.epilogue != NL_EPILOGUE_NONE;
  if (plan.method == GemmMethod::kPacked) {
    PlanPacked(g, plan);
  } else {
    PlanUnpacked(g, finishes, plan);
  }
  return plan;
}

}  // namespace

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

GemmPlan PlanOf(const nl_gemm_arguments& g) {
  return g.m > 0 && g.n > 0 ? MakePlan(g) : GemmPlan{};
}

int64_t PackedFloats(const nl_gemm_arguments& g, const GemmPlan& plan) {
  int64_t steps = 0;
  for (int64_t pass = 0; pass < plan.passes && plan.method == GemmMethod::kPacked; ++pass) {
    steps = std::max(steps, plan.PassSteps(g.k, pass));
  }
  return steps * (plan.padded_rows + plan.padded_columns);
}

int64_t WorkspaceFloats(const GemmPlan& plan) {
  int64_t floats = plan.staged ? plan.block_rows * plan.block_columns : 0;
  // Beside the sums those of one block of k.
  if (plan.method == GemmMethod::kFlat) floats *= 2;
  return floats + (plan.own_rows + plan.own_columns) * plan.own_steps;
}

}  // namespace nested_learning

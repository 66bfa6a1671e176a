// C = epilogue(op(A) op(B) + bias) + residual, or that added to C; README.md has the blocking.
// A [m, k], B [k, n], C [m, n] row-major, A and B also transposed; float32 accumulation, over k in
// order in blocks of kDepth, with one accumulator each. Writes C (adds to it when accumulating)
// and, for GELU, the pre-activation.
#include "core/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/gemm.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/math-inl.h"
#include "core/product-inl.h"
#include "core/vector-inl.h"

#ifndef NESTED_LEARNING_GEMM_PLAN_
#define NESTED_LEARNING_GEMM_PLAN_

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace nested_learning {

// How a product is cut, from its shape alone.
struct GemmPlan {
  int64_t block_rows, block_columns;
  int64_t row_blocks, column_blocks;
  bool copy_b;  // whether panels of B are first copied together
  bool staged;  // whether sums wait outside C for their epilogue
};

}  // namespace nested_learning

#endif  // NESTED_LEARNING_GEMM_PLAN_

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

// to [k, kTileColumns] = the n columns of from [k, ld]; columns from n on become zeros.
HWY_INLINE void PackPanel(size_t n, size_t k, const float* from, size_t ld, float* to) {
  const F32 d;
  if (n == kTileColumns) {
    for (size_t p = 0; p < k; ++p) {
      for (size_t j = 0; j < kTileVectors; ++j) {
        hn::StoreU(hn::LoadU(d, from + p * ld + j * kLanes), d, to + p * kTileColumns + j * kLanes);
      }
    }
    return;
  }
  for (size_t p = 0; p < k; ++p) {
    for (size_t j = 0; j < kTileVectors; ++j) {
      const size_t at = j * kLanes;
      const VecF v =
          LoadPart(from + p * ld + std::min(at, n), std::min(kLanes, n - std::min(at, n)));
      hn::StoreU(v, d, to + p * kTileColumns + at);
    }
  }
}

// One vector of columns of one row, sums + bias in z, through the epilogue.
template <class TVector>
HWY_INLINE void Finish(const nl_gemm_arguments& g, VecF z, size_t at, TVector vector) {
  if (g.epilogue == NL_EPILOGUE_GELU) {
    if (g.pre_activation != nullptr) vector(z, g.pre_activation + at);
    z = Gelu(z);
  } else if (g.epilogue == NL_EPILOGUE_GELU_GRADIENT) {
    z = hn::Mul(z, GeluGradient(vector(g.pre_activation + at)));
  }
  if (g.residual != nullptr) z = hn::Add(z, vector(g.residual + at));
  if (g.accumulate) z = hn::Add(vector(g.c + at), z);
  vector(z, g.c + at);
}

// The epilogue of rows x columns sums, the first of them at row i, column j of C.
void Epilogue(const nl_gemm_arguments& g, const float* sums, size_t ld, size_t i, size_t j,
              size_t rows, size_t columns) {
  const F32 d;
  const size_t n = static_cast<size_t>(g.n);
  for (size_t r = 0; r < rows; ++r) {
    const size_t at = (i + r) * n + j;
    size_t s = 0;
    for (; s + kLanes <= columns; s += kLanes) {
      VecF z = hn::LoadU(d, sums + r * ld + s);
      if (g.bias != nullptr) z = hn::Add(z, hn::LoadU(d, g.bias + j + s));
      Finish(g, z, at + s, WholeVector());
    }
    if (s < columns) {
      const PartOfVector part{columns - s};
      VecF z = part(sums + r * ld + s);
      if (g.bias != nullptr) z = hn::Add(z, part(g.bias + j + s));
      Finish(g, z, at + s, part);
    }
  }
}

// Columns [j, j + columns) of the block, summed over one block of k.
template <bool kTransposeA, bool kTransposeB>
HWY_INLINE void Columns(const GemmPlan& plan, Into into, size_t rows, size_t columns, size_t depth,
                        const float* a, size_t lda, const float* b, size_t ldb, float* panel,
                        float* c, size_t ldc) {
  if (!kTransposeB && !plan.copy_b) {
    Product<kTransposeA, kTransposeB>(into, rows, columns, depth, a, lda, b, ldb, c, ldc);
    return;
  }
  for (size_t j = 0; j < columns; j += kTileColumns) {
    const size_t n = std::min(kTileColumns, columns - j);
    if constexpr (kTransposeB) {
      PackTransposed(n, depth, b + j * ldb, ldb, panel);
    } else {
      PackPanel(n, depth, b + j, ldb, panel);
    }
    Panel<kTransposeA, true>(into, rows, n, depth, a, lda, panel, kTileColumns, c + j, ldc);
  }
}

template <bool kTransposeA, bool kTransposeB>
void Block(const nl_gemm_arguments& g, const GemmPlan& plan, size_t i, size_t j, size_t rows,
           size_t columns, float* workspace) {
  const size_t m = static_cast<size_t>(g.m);
  const size_t n = static_cast<size_t>(g.n);
  const size_t k = static_cast<size_t>(g.k);
  const size_t lda = kTransposeA ? m : k;
  const size_t ldb = kTransposeB ? k : n;
  float* panel = workspace;
  float* c = plan.staged ? panel + kDepth * kTileColumns : g.c + i * n + j;
  const size_t ldc = plan.staged ? static_cast<size_t>(plan.block_columns) : n;
  const float* a = g.a + (kTransposeA ? i : i * lda);
  const float* b = g.b + (kTransposeB ? j * ldb : j);

  if (kTransposeB && !kTransposeA && m <= kFewRows) {
    ProductOfDots(!plan.staged && g.accumulate ? Into::kAdd : Into::kSet, rows, columns, k, a, lda,
                  b, ldb, c, ldc);
  } else {
    size_t p = 0;
    do {
      const size_t depth = std::min(kDepth, k - p);
      const Into into = p > 0 || (!plan.staged && g.accumulate) ? Into::kAdd : Into::kSet;
      Columns<kTransposeA, kTransposeB>(plan, into, rows, columns, depth,
                                        a + (kTransposeA ? p * lda : p), lda,
                                        b + (kTransposeB ? p : p * ldb), ldb, panel, c, ldc);
      p += depth;
    } while (p < k);
  }
  if (plan.staged) Epilogue(g, c, ldc, i, j, rows, columns);
}

void GemmBlock(const nl_gemm_arguments& g, const GemmPlan& plan, int64_t piece, float* workspace) {
  const int64_t i = piece / plan.column_blocks * plan.block_rows;
  const int64_t j = piece % plan.column_blocks * plan.block_columns;
  const int64_t rows = std::min(plan.block_rows, g.m - i);
  const int64_t columns = std::min(plan.block_columns, g.n - j);
  if (g.transpose_a) {
    g.transpose_b ? Block<true, true>(g, plan, i, j, rows, columns, workspace)
                  : Block<true, false>(g, plan, i, j, rows, columns, workspace);
  } else {
    g.transpose_b ? Block<false, true>(g, plan, i, j, rows, columns, workspace)
                  : Block<false, false>(g, plan, i, j, rows, columns, workspace);
  }
}

size_t PanelSize() { return kDepth * kTileColumns; }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace nested_learning {

NL_TARGET_TABLE(GemmBlock);
NL_TARGET_TABLE(PanelSize);

namespace {

GemmPlan MakePlan(const nl_gemm_arguments& g) {
  // The largest blocks that still give every core of a usual machine something to do. Smaller ones
  // read more of both operands for the same work.
  constexpr int64_t kBlocks[][2] = {{192, 256}, {96, 256}, {96, 128}, {48, 128}, {48, 64}};
  constexpr int64_t kWantedPieces = 16;
  GemmPlan plan = {};
  for (const auto& block : kBlocks) {
    plan.block_rows = std::min(g.m, block[0]);
    plan.block_columns = std::min(g.n, g.m <= 2 ? 384 : block[1]);
    plan.row_blocks = (g.m + plan.block_rows - 1) / plan.block_rows;
    plan.column_blocks = (g.n + plan.block_columns - 1) / plan.block_columns;
    if (plan.row_blocks * plan.column_blocks >= kWantedPieces) break;
  }
  // The rows of a B larger than the second-level cache lie in too many pages to be read again and
  // again where they are.
  plan.copy_b = plan.block_rows >= 24 && g.k * g.n > 1 << 18;
  plan.staged = g.bias != nullptr || g.residual != nullptr || g.epilogue != NL_EPILOGUE_NONE;
  return plan;
}

int64_t Workspace(const GemmPlan& plan) {
  int64_t floats = static_cast<int64_t>(NL_CALL(PanelSize)());
  if (plan.staged) floats += plan.block_rows * plan.block_columns;
  return floats;
}

const nl_gemm_arguments& Check(const nl_gemm_arguments* arguments) {
  const auto& g = RequireArguments(arguments, "nl_gemm_arguments");
  RequireNotNegative(g.m, "m");
  RequireNotNegative(g.n, "n");
  RequireNotNegative(g.k, "k");
  if (g.epilogue < NL_EPILOGUE_NONE || g.epilogue > NL_EPILOGUE_GELU_GRADIENT) {
    ThrowValue("epilogue", g.epilogue, "0 to 2");
  }
  if (g.m > 0 && g.n > 0) {
    if (g.k > 0) {
      RequireNotNull(g.a, "a");
      RequireNotNull(g.b, "b");
    }
    RequireNotNull(g.c, "c");
    if (g.epilogue == NL_EPILOGUE_GELU_GRADIENT) RequireNotNull(g.pre_activation, "pre_activation");
  }
  return g;
}

}  // namespace
}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" {

int32_t nl_gemm_plan(const nl_gemm_arguments* arguments, int64_t* pieces, int64_t* workspace) try {
  const auto& g = nl::Check(arguments);
  nl::RequireNotNull(pieces, "pieces");
  nl::RequireNotNull(workspace, "workspace");
  *pieces = *workspace = 0;
  if (g.m > 0 && g.n > 0) {
    const nl::GemmPlan plan = nl::MakePlan(g);
    *pieces = plan.row_blocks * plan.column_blocks;
    *workspace = nl::Workspace(plan);
  }
  return NL_OK;
} catch (...) {
  return nl::Caught();
}

int32_t nl_gemm(const nl_gemm_arguments* arguments, int64_t begin, int64_t end,
                float* workspace) try {
  const auto& g = nl::Check(arguments);
  if (g.m == 0 || g.n == 0) {
    nl::RequireRange(begin, end, 0);
    return NL_OK;
  }
  const nl::GemmPlan plan = nl::MakePlan(g);
  nl::RequireRange(begin, end, plan.row_blocks * plan.column_blocks);
  if (begin < end) nl::RequireNotNull(workspace, "workspace");
  const auto block = NL_CALL(GemmBlock);
  for (int64_t piece = begin; piece < end; ++piece) (*block)(g, plan, piece, workspace);
  return NL_OK;
} catch (...) {
  return nl::Caught();
}

}  // extern "C"

#endif  // HWY_ONCE

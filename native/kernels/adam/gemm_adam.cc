// A weight's gradient and Adam's step on it: g = aᵀ b (+ g), then w, m and v; README.md says when that
// pays. a [k, m], b [k, n], w, g, m, v [m, n] row-major; the sums are float32, over k in order in blocks
// of kBlockDepth, and never leave the workspace.
#include "core/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/adam/gemm_adam.cc"
#include "hwy/foreach_target.h"
#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "core/product-inl.h"
#include "core/vector-inl.h"
#include "kernels/adam/adam-inl.h"

#ifndef NESTED_LEARNING_GEMM_ADAM_PLAN_
#define NESTED_LEARNING_GEMM_ADAM_PLAN_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace nested_learning {

// How w is cut, from its shape alone.
struct GemmAdamPlan {
  int64_t block_rows, block_columns;
  int64_t row_blocks, column_blocks;
};

// How much of k a block takes at once: its columns of b and its sums then leave room in the second-level cache for what
// the step reads of a strip of its rows.
constexpr int64_t kBlockDepth = 128;
constexpr int64_t kStripRows = 48;

}  // namespace nested_learning

#endif  // NESTED_LEARNING_GEMM_ADAM_PLAN_

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

// to [panels][depth][width] = the columns of from [depth, ld], width of them after the other; the last panel is filled up
// with zeros.
template <size_t width>
void Pack(const float* from, size_t ld, size_t depth, size_t columns, float* to) {
  constexpr size_t kAhead = 6, kLine = 16;
  for (size_t p = 0; p < depth; ++p, from += ld, to += width) {
    // A row begins in a page of its own, where the processor does not look ahead by itself.
    if (p + kAhead < depth) {
      for (size_t i = 0; i < columns; i += kLine) hwy::Prefetch(from + kAhead * ld + i);
    }
    float* panel = to;
    size_t i = 0;
    for (; i + width <= columns; i += width, panel += depth * width) {
      std::memcpy(panel, from + i, width * sizeof(float));
    }
    if (i == columns) continue;
    for (size_t j = 0; j < width; ++j) panel[j] = i + j < columns ? from[i + j] : 0.0f;
  }
}

// The floats of so many columns of an operand, packed.
constexpr int64_t PackedFloats(int64_t columns, int64_t width) {
  return (columns + width - 1) / width * width * kBlockDepth;
}

// Asks for what the step will read of rows x kTileColumns elements.
HWY_INLINE void PrefetchTile(const nl_adam_arguments& adam, size_t at, size_t ld, size_t rows) {
  const size_t moment = adam.moments == NL_MOMENTS_FLOAT32 ? sizeof(float) : sizeof(uint16_t);
  for (size_t r = 0; r < rows; ++r, at += ld) {
    for (size_t s = 0; s < kTileColumns; s += 16) {
      hwy::Prefetch(adam.w + at + s);
      hwy::Prefetch(static_cast<const char*>(adam.m) + (at + s) * moment);
      hwy::Prefetch(static_cast<const char*>(adam.v) + (at + s) * moment);
    }
  }
}

// Adam's step on rows x columns elements, the first of them at position `first` of w, whose rows are ld long.
void Commit(const nl_adam_arguments& adam, const AdamStep& step, const float* sums, size_t first,
            size_t ld, size_t rows, size_t columns) {
  const bool clear = adam.clear_gradient != 0;
  for (size_t r = 0; r < rows; ++r, sums += columns, first += ld) {
    float* g = adam.g == nullptr ? nullptr : adam.g + first;
    AdamElements(adam, step, first, columns, [sums, g, clear](auto vector, size_t s) HWY_ATTR {
      VecF gradient = vector(sums + s);
      if (g != nullptr) {
        gradient = hn::Add(gradient, vector(g + s));
        if (clear) vector(hn::Zero(F32()), g + s);
      }
      return gradient;
    });
  }
}

void GemmAdamBlock(const nl_gemm_adam_arguments& p, const nl_adam_arguments& adam,
                   const GemmAdamPlan& plan, int64_t piece, float* workspace) {
  const size_t i = static_cast<size_t>(piece / plan.column_blocks * plan.block_rows);
  const size_t j = static_cast<size_t>(piece % plan.column_blocks * plan.block_columns);
  const size_t m = static_cast<size_t>(p.m), n = static_cast<size_t>(p.n);
  const size_t k = static_cast<size_t>(p.k);
  const size_t rows = std::min(static_cast<size_t>(plan.block_rows), m - i);
  const size_t columns = std::min(static_cast<size_t>(plan.block_columns), n - j);
  const AdamStep step(adam);
  float* a = workspace;
  float* b = a + PackedFloats(kStripRows, kTileRows);
  float* sums = b + PackedFloats(plan.block_columns, kTileColumns);
  size_t done = 0;
  do {
    const size_t depth = std::min<size_t>(kBlockDepth, k - done);
    const Into into = done > 0 ? Into::kAdd : Into::kSet;
    const bool last = done + depth == k;
    Pack<kTileColumns>(p.b + done * n + j, n, depth, columns, b);
    for (size_t strip = 0; strip < rows; strip += kStripRows) {
      const size_t strip_rows = std::min<size_t>(kStripRows, rows - strip);
      float* c = sums + strip * columns;
      const size_t first = (i + strip) * n + j;
      Pack<kTileRows>(p.a + done * m + i + strip, m, depth, strip_rows, a);
      for (size_t s = 0; s < columns; s += kTileColumns) {
        const size_t width = std::min(kTileColumns, columns - s);
        for (size_t r = 0; r < strip_rows; r += kTileRows) {
          const size_t height = std::min(kTileRows, strip_rows - r);
          if (last) PrefetchTile(adam, first + r * n + s, n, height);
          Panel<true, true>(into, height, width, depth, a + r * depth, kTileRows, b + s * depth,
                            kTileColumns, c + r * columns + s, columns);
        }
      }
      if (last) Commit(adam, step, c, first, n, strip_rows, columns);
    }
    done += depth;
  } while (done < k);
}

int64_t Workspace(const GemmAdamPlan& plan) {
  return PackedFloats(kStripRows, kTileRows) + PackedFloats(plan.block_columns, kTileColumns) +
         plan.block_rows * plan.block_columns;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include "kernels/adam/adam.h"

namespace nested_learning {

NL_TARGET_TABLE(GemmAdamBlock);
NL_TARGET_TABLE(Workspace);

namespace {

// The largest blocks that still give every core of a usual machine something to do. Smaller ones read more of both
// operands for the same work.
GemmAdamPlan MakePlan(const nl_gemm_adam_arguments* arguments) {
  const auto& p = RequireArguments(arguments, "nl_gemm_adam_arguments");
  RequireNotNegative(p.m, "m");
  RequireNotNegative(p.n, "n");
  RequireNotNegative(p.k, "k");
  constexpr int64_t kBlocks[][2] = {{192, 256}, {96, 256}, {96, 128}, {48, 128}, {48, 64}};
  constexpr int64_t kWantedPieces = 16;
  GemmAdamPlan plan = {};
  for (const auto& block : kBlocks) {
    plan = {block[0], block[1], (p.m + block[0] - 1) / block[0], (p.n + block[1] - 1) / block[1]};
    if (plan.row_blocks * plan.column_blocks >= kWantedPieces) break;
  }
  return plan;
}

}  // namespace
}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" {

int32_t nl_gemm_adam_plan(const nl_gemm_adam_arguments* arguments, int64_t* pieces,
                          int64_t* workspace) try {
  const nl::GemmAdamPlan plan = nl::MakePlan(arguments);
  nl::RequireNotNull(pieces, "pieces");
  nl::RequireNotNull(workspace, "workspace");
  *pieces = plan.row_blocks * plan.column_blocks;
  *workspace = NL_CALL(Workspace)(plan);
  return NL_OK;
} catch (...) {
  return nl::Caught();
}

int32_t nl_gemm_adam_commit(const nl_gemm_adam_arguments* arguments, const nl_adam_arguments* adam,
                            int64_t begin, int64_t end, float* workspace) try {
  const nl::GemmAdamPlan plan = nl::MakePlan(arguments);
  const auto& a = nl::RequireArguments(adam, "nl_adam_arguments");
  nl::RequireRange(begin, end, plan.row_blocks * plan.column_blocks);
  if (begin == end) return NL_OK;
  nl::RequireAdam(a);
  nl::RequireNotNull(arguments->a, "a");
  nl::RequireNotNull(arguments->b, "b");
  nl::RequireNotNull(workspace, "workspace");
  const auto block = NL_CALL(GemmAdamBlock);
  for (int64_t piece = begin; piece < end; ++piece) (*block)(*arguments, a, plan, piece, workspace);
  return NL_OK;
} catch (...) {
  return nl::Caught();
}

}  // extern "C"

#endif  // HWY_ONCE

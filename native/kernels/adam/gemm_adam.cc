// A weight's gradient and Adam's step on it: g = aᵀ b (+ g), then w, m and v; README.md says when that
// pays. a [k, m], b [k, n], w, g, m, v [m, n] row-major; the sums are float32, over k in order in blocks
// of kDepth, and never leave the workspace.
#include "core/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/adam/gemm_adam.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/product-inl.h"
#include "core/vector-inl.h"
#include "kernels/adam/adam-inl.h"

#ifndef NESTED_LEARNING_GEMM_ADAM_BLOCK_
#define NESTED_LEARNING_GEMM_ADAM_BLOCK_

namespace nested_learning {

// A piece of w.
constexpr int64_t kBlockRows = 48;
constexpr int64_t kBlockColumns = 128;
// How much of k a block takes at once.
constexpr int64_t kBlockDepth = 256;

}  // namespace nested_learning

#endif  // NESTED_LEARNING_GEMM_ADAM_BLOCK_

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

// to [rows, columns] = the same of from, whose rows are ld apart.
void CopyBlock(const float* from, size_t ld, size_t rows, size_t columns, float* to) {
  for (size_t i = 0; i < rows; ++i) std::copy_n(from + i * ld, columns, to + i * columns);
}

void GemmAdamBlock(const nl_gemm_adam_arguments& p, const nl_adam_arguments& adam, int64_t piece,
                   float* workspace) {
  const int64_t across = (p.n + kBlockColumns - 1) / kBlockColumns;
  const size_t i = static_cast<size_t>(piece / across * kBlockRows);
  const size_t j = static_cast<size_t>(piece % across * kBlockColumns);
  const size_t m = static_cast<size_t>(p.m), n = static_cast<size_t>(p.n);
  const size_t k = static_cast<size_t>(p.k);
  const size_t rows = std::min<size_t>(kBlockRows, m - i);
  const size_t columns = std::min<size_t>(kBlockColumns, n - j);
  float* sums = workspace;
  // Rows of a large operand lie in more pages than the processor keeps at hand.
  float* a = sums + kBlockRows * kBlockColumns;
  float* b = a + kBlockDepth * kBlockRows;
  size_t done = 0;
  do {
    const size_t depth = std::min<size_t>(kBlockDepth, k - done);
    CopyBlock(p.a + done * m + i, m, depth, rows, a);
    CopyBlock(p.b + done * n + j, n, depth, columns, b);
    Product<true, false>(done > 0 ? Into::kAdd : Into::kSet, rows, columns, depth, a, rows, b,
                         columns, sums, columns);
    done += depth;
  } while (done < k);

  const AdamStep step(adam);
  for (size_t r = 0; r < rows; ++r) {
    const float* sum = sums + r * columns;
    const size_t at = (i + r) * n + j;
    float* g = adam.g == nullptr ? nullptr : adam.g + at;
    const bool clear = adam.clear_gradient != 0;
    AdamElements(adam, step, at, columns, [sum, g, clear](auto vector, size_t s) HWY_ATTR {
      VecF gradient = vector(sum + s);
      if (g != nullptr) {
        gradient = hn::Add(gradient, vector(g + s));
        if (clear) vector(hn::Zero(F32()), g + s);
      }
      return gradient;
    });
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include "kernels/adam/adam.h"

namespace nested_learning {

NL_TARGET_TABLE(GemmAdamBlock);

namespace {

const nl_gemm_adam_arguments& Check(const nl_gemm_adam_arguments* arguments) {
  const auto& p = RequireArguments(arguments, "nl_gemm_adam_arguments");
  RequireNotNegative(p.m, "m");
  RequireNotNegative(p.n, "n");
  RequireNotNegative(p.k, "k");
  return p;
}

int64_t Pieces(const nl_gemm_adam_arguments& p) {
  return (p.m + kBlockRows - 1) / kBlockRows * ((p.n + kBlockColumns - 1) / kBlockColumns);
}

}  // namespace
}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" {

int32_t nl_gemm_adam_plan(const nl_gemm_adam_arguments* arguments, int64_t* pieces,
                          int64_t* workspace) try {
  const auto& p = nl::Check(arguments);
  nl::RequireNotNull(pieces, "pieces");
  nl::RequireNotNull(workspace, "workspace");
  *pieces = nl::Pieces(p);
  *workspace = nl::kBlockRows * nl::kBlockColumns +
               nl::kBlockDepth * (nl::kBlockRows + nl::kBlockColumns);
  return NL_OK;
} catch (...) {
  return nl::Caught();
}

int32_t nl_gemm_adam_commit(const nl_gemm_adam_arguments* arguments, const nl_adam_arguments* adam,
                            int64_t begin, int64_t end, float* workspace) try {
  const auto& p = nl::Check(arguments);
  const auto& a = nl::RequireArguments(adam, "nl_adam_arguments");
  nl::RequireRange(begin, end, nl::Pieces(p));
  if (begin == end) return NL_OK;
  nl::RequireAdam(a);
  if (p.k > 0) {
    nl::RequireNotNull(p.a, "a");
    nl::RequireNotNull(p.b, "b");
  }
  nl::RequireNotNull(workspace, "workspace");
  const auto block = NL_CALL(GemmAdamBlock);
  for (int64_t piece = begin; piece < end; ++piece) (*block)(p, a, piece, workspace);
  return NL_OK;
} catch (...) {
  return nl::Caught();
}

}  // extern "C"

#endif  // HWY_ONCE

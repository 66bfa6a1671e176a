// Softmax cross-entropy of the rows of logits [m, n], in nats; README.md has the equations.
// float32; the logarithm of a row's sum in double.
#include "core/dispatch.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cross_entropy/cross_entropy.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/math-inl.h"
#include "core/softmax-inl.h"
#include "core/vector-inl.h"
#include "hwy/cache_control.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

// A row is gone through in blocks of so many elements, which stay in the first-level cache between their passes, or of
// more where there would be more than kMostBlocks.
constexpr size_t kBlock = 1024;
constexpr size_t kMostBlocks = 256;

// From here on a result is not worth its place in the caches, and is written past them.
constexpr int64_t kStreamed = int64_t{1} << 22;

size_t BlockLength(size_t n) { return std::max(kBlock, (n + kMostBlocks - 1) / kMostBlocks); }

struct RowSum {
  float maximum;
  double sum;  // of e^(x - maximum)
};

// One pass over a row in memory: each block against the largest element so far, what was summed before scaled where that
// grows. When kKeep, kept [n] = e^(x - offsets[block]).
template <bool kKeep>
HWY_INLINE RowSum SumRow(const float* x, size_t n, float* kept, float* offsets) {
  RowSum row = {-std::numeric_limits<float>::infinity(), 0};
  const size_t length = BlockLength(n);
  for (size_t i = 0; i < n; i += length) {
    const size_t count = std::min(length, n - i);
    const float maximum = Maximum(x + i, count);
    if (maximum > row.maximum) {
      row.sum *= std::exp(static_cast<double>(row.maximum) - maximum);
      row.maximum = maximum;
    }
    // Before the first element above -infinity there is nothing to sum.
    const float offset = std::max(row.maximum, std::numeric_limits<float>::lowest());
    row.sum += SumOfExponentials<kKeep>(x + i, count, offset, kKeep ? kept + i : nullptr);
    if (kKeep) offsets[i / length] = offset;
  }
  return row;
}

// The loss from the maximum, so that a large common offset of the logits costs no digits.
HWY_INLINE void Result(const nl_cross_entropy_arguments& a, int64_t row, const RowSum& sum,
                       float at_target) {
  const double log = std::log(sum.sum);
  if (a.log_sums != nullptr) a.log_sums[row] = static_cast<float>(sum.maximum + log);
  a.losses[row] = static_cast<float>(log + (static_cast<double>(sum.maximum) - at_target));
}

// Calls body.Run as ForEachVector does, after elements enough that to + position is on a vector's boundary.
template <class TBody>
HWY_INLINE void ForEachAlignedVector(const float* to, size_t count, TBody& body) {
  const size_t off = reinterpret_cast<uintptr_t>(to) / sizeof(float) % kLanes;
  size_t i = std::min(count, (kLanes - off) % kLanes);
  if (i > 0) body.Run(PartOfVector{i}, 0);
  for (; i + kLanes <= count; i += kLanes) body.Run(WholeVector(), i);
  if (i < count) body.Run(PartOfVector{count - i}, i);
}

HWY_INLINE void Put(bool streamed, WholeVector vector, VecF v, float* to) {
  if (streamed) {
    hn::Stream(v, F32(), to);
  } else {
    vector(v, to);
  }
}
HWY_INLINE void Put(bool, PartOfVector vector, VecF v, float* to) { vector(v, to); }

// to = factor from.
template <bool kStream>
struct Scaling {
  const float* from;
  VecF factor;
  float* to;

  template <class TVector>
  HWY_INLINE void Run(TVector vector, size_t i) {
    Put(kStream, vector, hn::Mul(vector(from + i), factor), to + i);
  }
};

// to = factor e^(from - offset).
template <bool kStream>
struct Softmax {
  const float* from;
  VecF offset, factor;
  float* to;

  template <class TVector>
  HWY_INLINE void Run(TVector vector, size_t i) {
    Put(kStream, vector, hn::Mul(ExpFlushed(hn::Sub(vector(from + i), offset)), factor), to + i);
  }
};

void CrossEntropyForward(const nl_cross_entropy_arguments& a, int64_t begin, int64_t end) {
  const size_t n = static_cast<size_t>(a.columns);
  for (int64_t row = begin; row < end; ++row) {
    const float* x = a.logits + row * a.columns;
    const int32_t target = a.targets[row];
    Result(a, row, SumRow<false>(x, n, nullptr, nullptr), x[std::max(target, 0)]);
    if (target < 0) a.losses[row] = 0;
  }
}

template <bool kStream>
HWY_INLINE void BackwardRows(const nl_cross_entropy_arguments& a, int64_t begin, int64_t end) {
  const F32 d;
  const size_t n = static_cast<size_t>(a.columns);
  for (int64_t row = begin; row < end; ++row) {
    const float* x = a.logits + row * a.columns;
    float* dx = a.dlogits + row * a.columns;
    const int32_t target = a.targets[row];
    if (target < 0) {
      std::fill(dx, dx + n, 0.0f);
      continue;
    }
    const VecF log_sum = hn::Set(d, a.log_sums[row]);
    const float at_target = x[target];
    Softmax<kStream> body = {x, log_sum, hn::Set(d, a.dlosses[row]), dx};
    ForEachAlignedVector(dx, n, body);
    const float p = hn::GetLane(ExpFlushed(hn::Sub(hn::Set(d, at_target), log_sum)));
    dx[target] = (p - 1.0f) * a.dlosses[row];
  }
  if (kStream) hwy::FlushStream();
}

void CrossEntropyBackward(const nl_cross_entropy_arguments& a, int64_t begin, int64_t end) {
  if (a.dlogits != a.logits && a.rows * a.columns >= kStreamed) {
    BackwardRows<true>(a, begin, end);
  } else {
    BackwardRows<false>(a, begin, end);
  }
}

template <bool kStream>
HWY_INLINE void RowsWithGradient(const nl_cross_entropy_arguments& a, int64_t begin, int64_t end,
                                 float* workspace) {
  const F32 d;
  const size_t n = static_cast<size_t>(a.columns), length = BlockLength(n);
  float offsets[kMostBlocks];
  for (int64_t row = begin; row < end; ++row) {
    const float* x = a.logits + row * a.columns;
    float* dx = a.dlogits + row * a.columns;
    const int32_t target = a.targets[row];
    const RowSum sum = SumRow<true>(x, n, workspace, offsets);
    const float at_target = x[std::max(target, 0)];
    Result(a, row, sum, at_target);
    if (target < 0) {
      a.losses[row] = 0;
      std::fill(dx, dx + n, 0.0f);
      continue;
    }
    for (size_t i = 0; i < n; i += length) {
      const double p = std::exp(static_cast<double>(offsets[i / length]) - sum.maximum) / sum.sum;
      Scaling<kStream> body = {workspace + i, hn::Set(d, static_cast<float>(a.gradient_scale * p)),
                               dx + i};
      ForEachAlignedVector(dx + i, std::min(length, n - i), body);
    }
    const double p = std::exp(static_cast<double>(at_target) - sum.maximum) / sum.sum;
    dx[target] = static_cast<float>(a.gradient_scale * (p - 1));
  }
  if (kStream) hwy::FlushStream();
}

void CrossEntropyWithGradient(const nl_cross_entropy_arguments& a, int64_t begin, int64_t end,
                              float* workspace) {
  if (a.dlogits != a.logits && a.rows * a.columns >= kStreamed) {
    RowsWithGradient<true>(a, begin, end, workspace);
  } else {
    RowsWithGradient<false>(a, begin, end, workspace);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace nested_learning {

NL_TARGET_TABLE(CrossEntropyForward);
NL_TARGET_TABLE(CrossEntropyBackward);
NL_TARGET_TABLE(CrossEntropyWithGradient);

namespace {

const nl_cross_entropy_arguments& Check(const nl_cross_entropy_arguments* arguments, int64_t begin,
                                        int64_t end) {
  const auto& a = RequireArguments(arguments, "nl_cross_entropy_arguments");
  RequireNotNegative(a.rows, "rows");
  RequirePositive(a.columns, "columns");
  RequireElements("rows and columns", {a.rows, a.columns});
  RequireRange(begin, end, a.rows);
  if (begin == end) return a;
  RequireNotNull(a.logits, "logits");
  RequireNotNull(a.targets, "targets");
  for (int64_t row = begin; row < end; ++row) {
    if (a.targets[row] < -1 || a.targets[row] >= a.columns) {
      const std::string name = "targets[" + std::to_string(row) + "]";
      const std::string allowed = "-1 to " + std::to_string(a.columns - 1);
      ThrowValue(name.c_str(), a.targets[row], allowed.c_str());
    }
  }
  return a;
}

}  // namespace
}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" {

int32_t nl_cross_entropy_forward(const nl_cross_entropy_arguments* arguments, int64_t begin,
                                 int64_t end) {
  return nl::Export([&] {
    const auto& a = nl::Check(arguments, begin, end);
    if (begin == end) return;
    nl::RequireNotNull(a.losses, "losses");
    nl::RequireNotNull(a.log_sums, "log_sums");
    NL_CALL(CrossEntropyForward)(a, begin, end);
  });
}

int32_t nl_cross_entropy_backward(const nl_cross_entropy_arguments* arguments, int64_t begin,
                                  int64_t end) {
  return nl::Export([&] {
    const auto& a = nl::Check(arguments, begin, end);
    if (begin == end) return;
    nl::RequireNotNull(a.log_sums, "log_sums");
    nl::RequireNotNull(a.dlosses, "dlosses");
    nl::RequireNotNull(a.dlogits, "dlogits");
    NL_CALL(CrossEntropyBackward)(a, begin, end);
  });
}

int32_t nl_cross_entropy_with_gradient(const nl_cross_entropy_arguments* arguments, int64_t begin,
                                       int64_t end, float* workspace) {
  return nl::Export([&] {
    const auto& a = nl::Check(arguments, begin, end);
    if (begin == end) return;
    nl::RequireNotNull(a.losses, "losses");
    nl::RequireNotNull(a.dlogits, "dlogits");
    nl::RequireNotNull(workspace, "workspace");
    NL_CALL(CrossEntropyWithGradient)(a, begin, end, workspace);
  });
}

}  // extern "C"

#endif  // HWY_ONCE

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
#include "core/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

// The largest element; a NaN may be passed over, as it shows in the sum that follows.
HWY_INLINE float RowMaximum(const float* x, size_t n) {
  const F32 d;
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  VecF m0 = hn::Set(d, kLowest), m1 = m0;
  size_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    m0 = hn::Max(hn::LoadU(d, x + i), m0);
    m1 = hn::Max(hn::LoadU(d, x + i + kLanes), m1);
  }
  HWY_ALIGN float lanes[kLanes];
  hn::Store(hn::Max(m0, m1), d, lanes);
  float maximum = kLowest;
  for (float lane : lanes) maximum = lane > maximum ? lane : maximum;
  for (; i < n; ++i) maximum = x[i] > maximum ? x[i] : maximum;
  return maximum;
}

void CrossEntropyForward(const nl_cross_entropy_arguments& a, int64_t begin, int64_t end) {
  const F32 d;
  const size_t n = static_cast<size_t>(a.columns);
  for (int64_t row = begin; row < end; ++row) {
    const float* x = a.logits + row * a.columns;
    const float maximum = RowMaximum(x, n);
    const VecF offset = hn::Set(d, maximum);
    VecF s0 = hn::Zero(d), s1 = s0;
    size_t i = 0;
    for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
      s0 = hn::Add(s0, Exp(hn::Sub(hn::LoadU(d, x + i), offset)));
      s1 = hn::Add(s1, Exp(hn::Sub(hn::LoadU(d, x + i + kLanes), offset)));
    }
    for (; i + kLanes <= n; i += kLanes) {
      s0 = hn::Add(s0, Exp(hn::Sub(hn::LoadU(d, x + i), offset)));
    }
    if (i < n) {
      const VecF e = Exp(hn::Sub(LoadPart(x + i, n - i), offset));
      s1 = hn::Add(s1, hn::IfThenElseZero(hn::FirstN(d, n - i), e));
    }
    const double log_sum = std::log(static_cast<double>(SumLanes(hn::Add(s0, s1))));
    a.log_sums[row] = static_cast<float>(maximum + log_sum);
    const int32_t target = a.targets[row];
    // From the maximum, so that a large common offset of the logits costs no digits.
    a.losses[row] = target < 0
                        ? 0.0f
                        : static_cast<float>(log_sum + (static_cast<double>(maximum) - x[target]));
  }
}

void CrossEntropyBackward(const nl_cross_entropy_arguments& a, int64_t begin, int64_t end) {
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
    const VecF upstream = hn::Set(d, a.dlosses[row]);
    const float at_target = x[target];
    size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      const VecF p = Exp(hn::Sub(hn::LoadU(d, x + i), log_sum));
      hn::StoreU(hn::Mul(p, upstream), d, dx + i);
    }
    if (i < n) {
      const VecF p = Exp(hn::Sub(LoadPart(x + i, n - i), log_sum));
      StorePart(hn::Mul(p, upstream), dx + i, n - i);
    }
    const float p = hn::GetLane(Exp(hn::Sub(hn::Set(d, at_target), log_sum)));
    dx[target] = (p - 1.0f) * a.dlosses[row];
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

namespace {

const nl_cross_entropy_arguments& Check(const nl_cross_entropy_arguments* arguments, int64_t begin,
                                        int64_t end) {
  const auto& a = RequireArguments(arguments, "nl_cross_entropy_arguments");
  RequireNotNegative(a.rows, "rows");
  RequirePositive(a.columns, "columns");
  RequireRange(begin, end, a.rows);
  if (begin == end) return a;
  RequireNotNull(a.logits, "logits");
  RequireNotNull(a.targets, "targets");
  RequireNotNull(a.log_sums, "log_sums");
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
                                 int64_t end) try {
  const auto& a = nl::Check(arguments, begin, end);
  if (begin == end) return NL_OK;
  nl::RequireNotNull(a.losses, "losses");
  NL_CALL(CrossEntropyForward)(a, begin, end);
  return NL_OK;
} catch (...) {
  return nl::Caught();
}

int32_t nl_cross_entropy_backward(const nl_cross_entropy_arguments* arguments, int64_t begin,
                                  int64_t end) try {
  const auto& a = nl::Check(arguments, begin, end);
  if (begin == end) return NL_OK;
  nl::RequireNotNull(a.dlosses, "dlosses");
  nl::RequireNotNull(a.dlogits, "dlogits");
  NL_CALL(CrossEntropyBackward)(a, begin, end);
  return NL_OK;
} catch (...) {
  return nl::Caught();
}

}  // extern "C"

#endif  // HWY_ONCE

// One step of Adam or AdamW over w, g, m, v; README.md has the equations. float32, moments also
// bfloat16; w, m and v are written, and g when it is cleared.
#include "core/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/adam/adam.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/vector-inl.h"
#include "kernels/adam/adam-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

// change += Σ (after − before)² and value += Σ before², in an order that depends on count alone.
void AddChange(const float* before, const float* after, size_t count, double& change,
               double& value) {
  const F64 d;
  const hn::Rebind<float, F64> half;
  const size_t lanes = hn::Lanes(d);
  VecD changes[2] = {hn::Zero(d), hn::Zero(d)}, values[2] = {hn::Zero(d), hn::Zero(d)};
  size_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    for (size_t j = 0; j < 2; ++j) {
      const VecD old = hn::PromoteTo(d, hn::LoadU(half, before + i + j * lanes));
      const VecD difference =
          hn::Sub(hn::PromoteTo(d, hn::LoadU(half, after + i + j * lanes)), old);
      changes[j] = hn::MulAdd(difference, difference, changes[j]);
      values[j] = hn::MulAdd(old, old, values[j]);
    }
  }
  change += SumLanes(hn::Add(changes[0], changes[1]));
  value += SumLanes(hn::Add(values[0], values[1]));
  for (; i < count; ++i) {
    const double old = before[i], difference = after[i] - old;
    change += difference * difference;
    value += old * old;
  }
}

template <bool kClear>
void Commit(const nl_adam_arguments& a, const AdamStep& step, size_t begin, size_t count) {
  float* g = a.g + begin;
  AdamElements(a, step, begin, count, [g](auto vector, size_t i) HWY_ATTR {
    const VecF gradient = vector(g + i);
    if (kClear) vector(hn::Zero(F32()), g + i);
    return gradient;
  });
}

void AdamCommit(const nl_adam_arguments& a, int64_t begin, int64_t end) {
  const AdamStep step(a);
  const auto commit = a.clear_gradient ? Commit<true> : Commit<false>;
  if (a.sums == nullptr) {
    commit(a, step, begin, end - begin);
    return;
  }
  // What w was is kept for a block that stays in the first-level cache.
  constexpr int64_t kBlock = 1024;
  HWY_ALIGN float before[kBlock];
  double change = 0, value = 0;
  for (int64_t i = begin; i < end; i += kBlock) {
    const size_t count = std::min(kBlock, end - i);
    std::copy(a.w + i, a.w + i + count, before);
    commit(a, step, i, count);
    AddChange(before, a.w + i, count, change, value);
  }
  a.sums[0] = change;
  a.sums[1] = value;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include "kernels/adam/adam.h"

namespace nested_learning {

NL_TARGET_TABLE(AdamCommit);

void RequireAdam(const nl_adam_arguments& a) {
  if (a.moments < NL_MOMENTS_FLOAT32 || a.moments > NL_MOMENTS_BFLOAT16) {
    ThrowValue("moments", a.moments, "0 or 1");
  }
  RequireNotNull(a.w, "w");
  RequireNotNull(a.m, "m");
  RequireNotNull(a.v, "v");
}

}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" int32_t nl_adam_commit(const nl_adam_arguments* arguments, int64_t begin,
                                  int64_t end) try {
  const auto& a = nl::RequireArguments(arguments, "nl_adam_arguments");
  nl::RequireRange(begin, end);
  if (begin == end) {
    if (a.sums != nullptr) a.sums[0] = a.sums[1] = 0;
    return NL_OK;
  }
  nl::RequireAdam(a);
  nl::RequireNotNull(a.g, "g");
  NL_CALL(AdamCommit)(a, begin, end);
  return NL_OK;
} catch (...) {
  return nl::Caught();
}

#endif  // HWY_ONCE

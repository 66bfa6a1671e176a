// One step of Adam or AdamW over w, g, m, v; README.md has the equations. float32, moments also
// bfloat16; w, m and v are written, and g when it is cleared.
#include "core/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/adam/adam.cc"
#include "hwy/foreach_target.h"
#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "core/change-inl.h"
#include "core/vector-inl.h"
#include "kernels/adam/adam-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

template <bool kClear>
void Commit(const nl_adam_arguments& a, const AdamStep& step, size_t begin, size_t count) {
  float* g = a.g + begin;
  AdamElements<kAdamAhead>(a, step, begin, count, [g](auto vector, size_t i) HWY_ATTR {
    hwy::Prefetch(g + i + kAdamAhead);
    const VecF gradient = vector(g + i);
    if (kClear) vector(hn::Zero(F32()), g + i);
    return gradient;
  });
}

void AdamCommit(const nl_adam_arguments& a, int64_t begin, int64_t end) {
  const AdamStep step(a);
  const auto commit = a.clear_gradient ? Commit<true> : Commit<false>;
  MeasureCommit(a.w, begin, end, a.sums,
                [&](int64_t first, size_t count) { commit(a, step, first, count); });
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
  RequireOneOf(a.moments, NL_MOMENTS_BFLOAT16, "moments");
  RequireNotNull(a.w, "w");
  RequireNotNull(a.m, "m");
  RequireNotNull(a.v, "v");
  RequireEpsilon(a.epsilon);
}

}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" int32_t nl_adam_commit(const nl_adam_arguments* arguments, int64_t begin, int64_t end) {
  return nl::Export([&] {
    const auto& a = nl::RequireArguments(arguments, "nl_adam_arguments");
    nl::RequireRange(begin, end);
    if (begin == end) {
      if (a.sums != nullptr) a.sums[0] = a.sums[1] = 0;
      return;
    }
    nl::RequireAdam(a);
    nl::RequireNotNull(a.g, "g");
    NL_CALL(AdamCommit)(a, begin, end);
  });
}

#endif  // HWY_ONCE

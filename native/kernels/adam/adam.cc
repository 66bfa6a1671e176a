// One step of Adam or AdamW over w, g, m, v; README.md has the equations. float32; w, m and v are
// written.
#include "core/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/adam/adam.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

struct AdamBody {
  float *w, *m, *v;
  const float* gradient;
  VecF gradient_scale, l2, beta1, rest1, beta2, rest2, step, root_scale, epsilon, keep;

  AdamBody(const nl_adam_arguments& a, int64_t begin)
      : w(a.w + begin), m(a.m + begin), v(a.v + begin), gradient(a.g + begin) {
    const F32 d;
    gradient_scale = hn::Set(d, a.gradient_scale);
    l2 = hn::Set(d, a.decoupled ? 0.0f : a.weight_decay);
    beta1 = hn::Set(d, a.beta1);
    rest1 = hn::Set(d, static_cast<float>(1.0 - a.beta1));
    beta2 = hn::Set(d, a.beta2);
    rest2 = hn::Set(d, static_cast<float>(1.0 - a.beta2));
    step = hn::Set(d, static_cast<float>(a.learning_rate / static_cast<double>(a.correction1)));
    root_scale = hn::Set(d, static_cast<float>(1.0 / static_cast<double>(a.correction2)));
    epsilon = hn::Set(d, a.epsilon);
    keep = hn::Set(d, a.decoupled ? static_cast<float>(1.0 - static_cast<double>(a.learning_rate) *
                                                                 a.weight_decay)
                                  : 1.0f);
  }

  template <class TVector>
  HWY_INLINE void Run(TVector vector, size_t i) {
    const VecF g = hn::MulAdd(l2, vector(w + i), hn::Mul(gradient_scale, vector(gradient + i)));
    const VecF first = hn::MulAdd(beta1, vector(m + i), hn::Mul(rest1, g));
    const VecF second = hn::MulAdd(beta2, vector(v + i), hn::Mul(rest2, hn::Mul(g, g)));
    const VecF root = hn::Add(hn::Sqrt(hn::Mul(second, root_scale)), epsilon);
    vector(first, m + i);
    vector(second, v + i);
    vector(hn::NegMulAdd(step, hn::Div(first, root), hn::Mul(keep, vector(w + i))), w + i);
  }
};

void AdamCommit(const nl_adam_arguments& a, int64_t begin, int64_t end) {
  AdamBody body(a, begin);
  ForEachVector(end - begin, body);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace nested_learning {
NL_TARGET_TABLE(AdamCommit);
}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" int32_t nl_adam_commit(const nl_adam_arguments* arguments, int64_t begin,
                                  int64_t end) try {
  const auto& a = nl::RequireArguments(arguments, "nl_adam_arguments");
  nl::RequireRange(begin, end);
  if (begin == end) return NL_OK;
  nl::RequireNotNull(a.w, "w");
  nl::RequireNotNull(a.g, "g");
  nl::RequireNotNull(a.m, "m");
  nl::RequireNotNull(a.v, "v");
  NL_CALL(AdamCommit)(a, begin, end);
  return NL_OK;
} catch (...) {
  return nl::Caught();
}

#endif  // HWY_ONCE

// Gradients written into their first and second moments, and a weight moved by what is read from them; README.md has the
// equations. float32; each element by itself.
#include "core/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/moment/moment.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/change-inl.h"
#include "core/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

template <class T>
HWY_INLINE T* At(T* tensor, int64_t begin) {
  return tensor == nullptr ? nullptr : tensor + begin;
}

template <bool kFirst, bool kSecond, bool kWeight>
struct MomentBody {
  VecF gradient_scale, keep1, write1, keep2, write2, read_moment, read_gradient, rate, decay,
      epsilon;
  float *w, *g, *m, *v;
  const float* start;
  bool clear;

  explicit MomentBody(const nl_moment_arguments& a, int64_t begin)
      : w(At(a.w, begin)),
        g(a.g + begin),
        m(At(a.m, begin)),
        v(At(a.v, begin)),
        start(a.start == nullptr ? w : a.start + begin),
        clear(a.clear_gradient != 0) {
    const F32 d;
    gradient_scale = hn::Set(d, a.gradient_scale);
    keep1 = hn::Set(d, a.keep1);
    write1 = hn::Set(d, a.write1);
    keep2 = hn::Set(d, a.keep2);
    write2 = hn::Set(d, a.write2);
    read_moment = hn::Set(d, a.read_moment);
    read_gradient = hn::Set(d, a.read_gradient);
    rate = hn::Set(d, a.learning_rate);
    decay = hn::Set(d, a.decay);
    epsilon = hn::Set(d, a.epsilon);
  }

  template <class TVector>
  HWY_INLINE void Run(TVector vector, size_t i) {
    const VecF gradient = hn::Mul(gradient_scale, vector(g + i));
    if (clear) vector(hn::Zero(F32()), g + i);
    VecF read = hn::Mul(read_gradient, gradient);
    if (kFirst) {
      const VecF first = hn::Add(hn::Mul(keep1, vector(m + i)), hn::Mul(write1, gradient));
      vector(first, m + i);
      read = hn::Add(hn::Mul(read_moment, first), read);
    }
    VecF step = hn::Mul(rate, read);
    if (kSecond) {
      const VecF second =
          hn::Add(hn::Mul(keep2, vector(v + i)), hn::Mul(write2, hn::Mul(gradient, gradient)));
      vector(second, v + i);
      step = hn::Div(step, hn::Add(hn::Sqrt(second), epsilon));
    }
    if (kWeight) {
      const VecF from = vector(start + i);
      vector(hn::Sub(from, hn::Add(hn::Mul(decay, from), step)), w + i);
    }
  }
};

template <bool kFirst, bool kSecond, bool kWeight>
void Commit(const nl_moment_arguments& a, int64_t begin, size_t count) {
  MomentBody<kFirst, kSecond, kWeight> body(a, begin);
  ForEachVector(count, body);
}

void MomentCommit(const nl_moment_arguments& a, int64_t begin, int64_t end) {
  // By m, v and w.
  constexpr decltype(&Commit<true, true, true>) kCommits[] = {
      Commit<false, false, false>, Commit<false, false, true>, Commit<false, true, false>,
      Commit<false, true, true>,   Commit<true, false, false>, Commit<true, false, true>,
      Commit<true, true, false>,   Commit<true, true, true>};
  const auto commit = kCommits[(a.m != nullptr) * 4 + (a.v != nullptr) * 2 + (a.w != nullptr)];
  MeasureCommit(a.w, begin, end, a.sums,
                [&](int64_t first, size_t count) { commit(a, first, count); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include "core/status.h"

namespace nested_learning {

NL_TARGET_TABLE(MomentCommit);

}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" int32_t nl_moment_commit(const nl_moment_arguments* arguments, int64_t begin,
                                    int64_t end) {
  return nl::Export([&] {
    const auto& a = nl::RequireArguments(arguments, "nl_moment_arguments");
    nl::RequireRange(begin, end);
    if (a.sums != nullptr) nl::RequireNotNull(a.w, "w");
    if (begin == end) {
      if (a.sums != nullptr) a.sums[0] = a.sums[1] = 0;
      return;
    }
    nl::RequireNotNull(a.g, "g");
    if (a.w == nullptr && a.m == nullptr) nl::RequireNotNull(a.v, "v");
    if (a.w != nullptr && a.v != nullptr) nl::RequireEpsilon(a.epsilon);
    NL_CALL(MomentCommit)(a, begin, end);
  });
}

#endif  // HWY_ONCE

// The two passes of a softmax over a row of floats. Per target.
#if defined(NESTED_LEARNING_CORE_SOFTMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_CORE_SOFTMAX_INL_H_
#undef NESTED_LEARNING_CORE_SOFTMAX_INL_H_
#else
#define NESTED_LEARNING_CORE_SOFTMAX_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <limits>

#include "hwy/highway.h"
#include "core/math-inl.h"
#include "core/vector-inl.h"
#include "hwy/cache_control.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

// The largest element; a NaN may be passed over, as it shows in the sum that follows.
HWY_INLINE float Maximum(const float* x, size_t n) {
  const F32 d;
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  VecF m[4] = {hn::Set(d, kLowest), hn::Set(d, kLowest), hn::Set(d, kLowest), hn::Set(d, kLowest)};
  size_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    HWY_UNROLL(4)
    for (size_t j = 0; j < 4; ++j) m[j] = hn::Max(hn::LoadU(d, x + i + j * kLanes), m[j]);
  }
  HWY_ALIGN float lanes[kLanes];
  hn::Store(hn::Max(hn::Max(m[0], m[1]), hn::Max(m[2], m[3])), d, lanes);
  float maximum = kLowest;
  for (float lane : lanes) maximum = lane > maximum ? lane : maximum;
  for (; i < n; ++i) maximum = x[i] > maximum ? x[i] : maximum;
  return maximum;
}

// The sum of e^(x - offset), and when kKeep those themselves. The elements after the block are asked for meanwhile: no
// hardware prefetcher looks that far ahead.
template <bool kKeep>
HWY_INLINE float SumOfExponentials(const float* x, size_t n, float offset, float* kept) {
  constexpr size_t kLine = 64 / sizeof(float);
  const F32 d;
  const VecF o = hn::Set(d, offset);
  VecF s0 = hn::Zero(d), s1 = s0;
  size_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    for (size_t line = 0; line < 2 * kLanes; line += kLine) hwy::Prefetch(x + n + i + line);
    const VecF e0 = ExpFlushed(hn::Sub(hn::LoadU(d, x + i), o));
    const VecF e1 = ExpFlushed(hn::Sub(hn::LoadU(d, x + i + kLanes), o));
    s0 = hn::Add(s0, e0);
    s1 = hn::Add(s1, e1);
    if (kKeep) {
      hn::StoreU(e0, d, kept + i);
      hn::StoreU(e1, d, kept + i + kLanes);
    }
  }
  for (; i < n; i += kLanes) {
    const PartOfVector part{std::min(kLanes, n - i)};
    const VecF e = part.Only(ExpFlushed(hn::Sub(part(x + i), o)));
    s0 = hn::Add(s0, e);
    if (kKeep) part(e, kept + i);
  }
  return SumLanes(hn::Add(s0, s1));
}

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target

// How far a commit moved a tensor, for the kernels that measure it in the pass of the commit itself. Per target.
#if defined(NESTED_LEARNING_CORE_CHANGE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_CORE_CHANGE_INL_H_
#undef NESTED_LEARNING_CORE_CHANGE_INL_H_
#else
#define NESTED_LEARNING_CORE_CHANGE_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"
#include "core/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

// change += Σ (after − before)² and value += Σ before², in an order that depends on count alone.
inline void AddChange(const float* before, const float* after, size_t count, double& change,
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

// Calls commit(position, count) over the elements begin..end-1 of w, which it writes; where sums is not null it receives
// the sums of squares of w's change and of w before.
template <class TCommit>
HWY_INLINE void MeasureCommit(const float* w, int64_t begin, int64_t end, double* sums,
                              TCommit commit) {
  if (sums == nullptr) {
    commit(begin, static_cast<size_t>(end - begin));
    return;
  }
  // What w was is kept for a block that stays in the first-level cache.
  constexpr int64_t kBlock = 1024;
  HWY_ALIGN float before[kBlock];
  double change = 0, value = 0;
  for (int64_t i = begin; i < end; i += kBlock) {
    const size_t count = static_cast<size_t>(std::min(kBlock, end - i));
    std::copy(w + i, w + i + count, before);
    commit(i, count);
    AddChange(before, w + i, count, change, value);
  }
  sums[0] = change;
  sums[1] = value;
}

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target

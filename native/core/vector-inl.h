// Loads and stores of part of a vector, and sums of its lanes, the same on every target. Per
// target.
#if defined(NESTED_LEARNING_CORE_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_CORE_VECTOR_INL_H_
#undef NESTED_LEARNING_CORE_VECTOR_INL_H_
#else
#define NESTED_LEARNING_CORE_VECTOR_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using I32 = hn::RebindToSigned<F32>;
using F64 = hn::ScalableTag<double>;
using VecF = hn::Vec<F32>;
using VecI = hn::Vec<I32>;
using VecD = hn::Vec<F64>;

// Lanes of a vector of floats, known at compile time on the targets that are enabled.
constexpr size_t kLanes = hn::MaxLanes(F32());

// The first count lanes (0..kLanes) from memory, zeros after them. Reads nothing beyond.
HWY_INLINE VecF LoadPart(const float* from, size_t count) {
  const F32 d;
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
  // Masked loads of these two do not touch the lanes left out.
  return hn::MaskedLoad(hn::FirstN(d, count), d, from);
#else
  HWY_ALIGN float lanes[kLanes] = {};
  for (size_t i = 0; i < count; ++i) lanes[i] = from[i];
  return hn::Load(d, lanes);
#endif
}

// Writes the first count lanes (0..kLanes) and nothing beyond.
HWY_INLINE void StorePart(VecF v, float* to, size_t count) {
  const F32 d;
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
  hn::BlendedStore(v, hn::FirstN(d, count), d, to);
#else
  HWY_ALIGN float lanes[kLanes];
  hn::Store(v, d, lanes);
  for (size_t i = 0; i < count; ++i) to[i] = lanes[i];
#endif
}

// A kernel's inner part is written once and given one of these two: for a whole vector, and for the
// last lanes of a row.
struct WholeVector {
  HWY_INLINE VecF operator()(const float* from) const { return hn::LoadU(F32(), from); }
  HWY_INLINE void operator()(VecF v, float* to) const { hn::StoreU(v, F32(), to); }
  // v in the lanes that count, 0 in the others.
  HWY_INLINE VecF Only(VecF v) const { return v; }
};

struct PartOfVector {
  size_t lanes;
  HWY_INLINE VecF operator()(const float* from) const { return LoadPart(from, lanes); }
  HWY_INLINE void operator()(VecF v, float* to) const { StorePart(v, to, lanes); }
  HWY_INLINE VecF Only(VecF v) const { return hn::IfThenElseZero(hn::FirstN(F32(), lanes), v); }
};

// Calls body.Run(WholeVector or PartOfVector, position) over count elements.
template <class TBody>
HWY_INLINE void ForEachVector(size_t count, TBody& body) {
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) body.Run(WholeVector(), i);
  if (i < count) body.Run(PartOfVector{count - i}, i);
}

// The sum of all lanes, in an order that depends on the target alone.
HWY_INLINE float SumLanes(VecF v) { return hn::GetLane(hn::SumOfLanes(F32(), v)); }
HWY_INLINE double SumLanes(VecD v) { return hn::GetLane(hn::SumOfLanes(F64(), v)); }

// Σ x[i] y[i].
HWY_INLINE float Dot(const float* x, const float* y, size_t count) {
  const F32 d;
  VecF s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  size_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    s0 = hn::MulAdd(hn::LoadU(d, x + i), hn::LoadU(d, y + i), s0);
    s1 = hn::MulAdd(hn::LoadU(d, x + i + kLanes), hn::LoadU(d, y + i + kLanes), s1);
    s2 = hn::MulAdd(hn::LoadU(d, x + i + 2 * kLanes), hn::LoadU(d, y + i + 2 * kLanes), s2);
    s3 = hn::MulAdd(hn::LoadU(d, x + i + 3 * kLanes), hn::LoadU(d, y + i + 3 * kLanes), s3);
  }
  for (; i + kLanes <= count; i += kLanes) {
    s0 = hn::MulAdd(hn::LoadU(d, x + i), hn::LoadU(d, y + i), s0);
  }
  if (i < count) s1 = hn::MulAdd(LoadPart(x + i, count - i), LoadPart(y + i, count - i), s1);
  return SumLanes(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)));
}

// y[i] += factor x[i].
HWY_INLINE void AddScaledTo(float factor, const float* x, float* y, size_t count) {
  const F32 d;
  const VecF f = hn::Set(d, factor);
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    hn::StoreU(hn::MulAdd(f, hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, y + i);
  }
  if (i < count) {
    const size_t rest = count - i;
    StorePart(hn::MulAdd(f, LoadPart(x + i, rest), LoadPart(y + i, rest)), y + i, rest);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target

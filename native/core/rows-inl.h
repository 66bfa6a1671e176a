// Rows of floats: copied, scaled, summed, transposed. Per target.
#if defined(NESTED_LEARNING_CORE_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_CORE_ROWS_INL_H_
#undef NESTED_LEARNING_CORE_ROWS_INL_H_
#else
#define NESTED_LEARNING_CORE_ROWS_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "hwy/highway.h"
#include "core/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

// to = factor from. to may be from.
HWY_INLINE void ScaleRow(float factor, const float* from, float* to, size_t count) {
  const F32 d;
  const VecF f = hn::Set(d, factor);
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    hn::StoreU(hn::Mul(f, hn::LoadU(d, from + i)), d, to + i);
  if (i < count) StorePart(hn::Mul(f, LoadPart(from + i, count - i)), to + i, count - i);
}

// The same of every row of a matrix.
inline void ScaleRows(float factor, size_t rows, size_t columns, const float* from, size_t ldf,
                      float* to, size_t ldt) {
  for (size_t i = 0; i < rows; ++i) ScaleRow(factor, from + i * ldf, to + i * ldt, columns);
}

inline void CopyRows(size_t rows, size_t columns, const float* from, size_t ldf, float* to,
                     size_t ldt) {
  for (size_t i = 0; i < rows; ++i) std::copy_n(from + i * ldf, columns, to + i * ldt);
}

inline void ClearRows(size_t rows, size_t columns, float* to, size_t ldt) {
  for (size_t i = 0; i < rows; ++i) std::fill_n(to + i * ldt, columns, 0.0f);
}

// sum += factor x, and the result is <x, y>.
HWY_INLINE float AddScaledAndDot(float factor, const float* x, float* sum, const float* y,
                                 size_t count) {
  const F32 d;
  const VecF f = hn::Set(d, factor);
  VecF dot = hn::Zero(d);
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const VecF v = hn::LoadU(d, x + i);
    hn::StoreU(hn::MulAdd(f, v, hn::LoadU(d, sum + i)), d, sum + i);
    dot = hn::MulAdd(v, hn::LoadU(d, y + i), dot);
  }
  if (i < count) {
    const size_t rest = count - i;
    const VecF v = LoadPart(x + i, rest);
    StorePart(hn::MulAdd(f, v, LoadPart(sum + i, rest)), sum + i, rest);
    dot = hn::MulAdd(v, LoadPart(y + i, rest), dot);
  }
  return SumLanes(dot);
}

// <X, Y> over all elements.
inline float DotRows(size_t rows, size_t columns, const float* x, size_t ldx, const float* y,
                     size_t ldy) {
  const F32 d;
  VecF s0 = hn::Zero(d), s1 = s0;
  for (size_t r = 0; r < rows; ++r, x += ldx, y += ldy) {
    size_t i = 0;
    for (; i + 2 * kLanes <= columns; i += 2 * kLanes) {
      s0 = hn::MulAdd(hn::LoadU(d, x + i), hn::LoadU(d, y + i), s0);
      s1 = hn::MulAdd(hn::LoadU(d, x + i + kLanes), hn::LoadU(d, y + i + kLanes), s1);
    }
    for (; i < columns; i += kLanes) {
      const size_t lanes = std::min(kLanes, columns - i);
      s0 = hn::MulAdd(LoadPart(x + i, lanes), LoadPart(y + i, lanes), s0);
    }
  }
  return SumLanes(hn::Add(s0, s1));
}

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target

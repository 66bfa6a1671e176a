// The scan over a single token of one head that begins a chunk, from S₀ and P₀ into S and P without a workspace. Per target.
//
//   w = θ u − f (k S₀),  f = ε + [L2] θ        P = μ P₀ + kᵀ w        S = α S₀ + P        o = scale · q S  or  scale · q S₀
//
// A few columns at a time: their part of the states comes from memory once, and what an erase has to see first is
// still in the nearest cache when it is written.
#if defined(NESTED_LEARNING_KERNELS_SCAN_TOKEN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_SCAN_TOKEN_INL_H_
#undef NESTED_LEARNING_KERNELS_SCAN_TOKEN_INL_H_
#else
#define NESTED_LEARNING_KERNELS_SCAN_TOKEN_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "hwy/highway.h"
#include "core/math-inl.h"
#include "core/rows-inl.h"
#include "core/vector-inl.h"
#include "kernels/scan/scan.h"
#include "kernels/scan/segment-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

// Vectors of columns that one pass over the rows takes: their writes and reads stay in registers.
constexpr size_t kTokenVectors = 4;

struct ScanToken {
  const float *q, *k, *u;
  const float *s0, *p0;
  float *o, *s, *p;  // s may be s0, p may be p0
  size_t dk, ld;     // rows of the states are ld apart
  float alpha, mu, theta, erase, scale;
};

// kVectors vectors of columns from `column` on.
template <bool kMomentum, bool kAfter, size_t kVectors, class TAccess>
HWY_NOINLINE void TokenColumns(const ScanToken& x, size_t column, TAccess access) {
  const F32 d;
  const size_t dk = x.dk, ld = x.ld;
  const float *k = x.k, *q = x.q, *s0 = x.s0 + column;
  VecF w[kVectors], o[kVectors];
  HWY_UNROLL(4)
  for (size_t j = 0; j < kVectors; ++j) o[j] = w[j] = hn::Zero(d);
  if (x.erase != 0) {
    // Two sums a column, so that additions do not wait for each other.
    VecF odd[kVectors];
    HWY_UNROLL(4)
    for (size_t j = 0; j < kVectors; ++j) odd[j] = hn::Zero(d);
    const float* from = s0;
    size_t i = 0;
    for (; i + 2 <= dk; i += 2, from += 2 * ld) {
      const VecF k0 = hn::Set(d, k[i]), k1 = hn::Set(d, k[i + 1]);
      HWY_UNROLL(4)
      for (size_t j = 0; j < kVectors; ++j) {
        w[j] = hn::MulAdd(k0, access(from + j * kLanes), w[j]);
        odd[j] = hn::MulAdd(k1, access(from + ld + j * kLanes), odd[j]);
      }
    }
    HWY_UNROLL(4)
    for (size_t j = 0; j < kVectors; ++j) {
      if (i < dk) w[j] = hn::MulAdd(hn::Set(d, k[i]), access(from + j * kLanes), w[j]);
      w[j] = hn::Mul(hn::Set(d, -x.erase), hn::Add(w[j], odd[j]));
    }
  }
  HWY_UNROLL(4)
  for (size_t j = 0; j < kVectors; ++j) {
    w[j] = hn::MulAdd(hn::Set(d, x.theta), access(x.u + column + j * kLanes), w[j]);
  }
  const VecF alpha = hn::Set(d, x.alpha), mu = hn::Set(d, x.mu);
  const float* p0 = kMomentum ? x.p0 + column : nullptr;
  float *s = x.s + column, *p = kMomentum ? x.p + column : nullptr;
  for (size_t i = 0; i < dk; ++i) {
    const VecF key = hn::Set(d, k[i]), query = hn::Set(d, q[i]);
    HWY_UNROLL(4)
    for (size_t j = 0; j < kVectors; ++j) {
      const VecF old = access(s0 + j * kLanes);
      VecF next = hn::Mul(key, w[j]);
      if (kMomentum) {
        next = hn::MulAdd(mu, access(p0 + j * kLanes), next);
        access(next, p + j * kLanes);
      }
      next = hn::MulAdd(alpha, old, next);
      access(next, s + j * kLanes);
      o[j] = hn::MulAdd(query, kAfter ? next : old, o[j]);
    }
    s0 += ld;
    s += ld;
    if (kMomentum) {
      p0 += ld;
      p += ld;
    }
  }
  HWY_UNROLL(4)
  for (size_t j = 0; j < kVectors; ++j) {
    access(hn::Mul(hn::Set(d, x.scale), o[j]), x.o + column + j * kLanes);
  }
}

template <bool kMomentum, bool kAfter>
void TokenRow(const ScanToken& x, size_t columns) {
  size_t j = 0;
  for (; j + kTokenVectors * kLanes <= columns; j += kTokenVectors * kLanes) {
    TokenColumns<kMomentum, kAfter, kTokenVectors>(x, j, WholeVector());
  }
  for (; j + kLanes <= columns; j += kLanes) {
    TokenColumns<kMomentum, kAfter, 1>(x, j, WholeVector());
  }
  if (j < columns) TokenColumns<kMomentum, kAfter, 1>(x, j, PartOfVector{columns - j});
}

// shape.dv columns of one head. s0 and p0 null are zero.
inline void ScanOneToken(const ScanShape& shape, const ScanHead& head, const float* s0,
                         const float* p0, State s, State p) {
  if (s0 == nullptr) ClearRows(shape.dk, shape.dv, s.at, s.ld);
  if (shape.momentum && p0 == nullptr) ClearRows(shape.dk, shape.dv, p.at, p.ld);
  ScanToken x;
  x.q = head.q;
  x.k = head.k;
  x.u = head.u;
  x.s0 = s0 == nullptr ? s.at : s0;
  x.p0 = p0 == nullptr ? p.at : p0;
  x.o = head.o;
  x.s = s.at;
  x.p = p.at;
  x.dk = shape.dk;
  x.ld = s.ld;
  x.alpha = shape.decays ? hn::GetLane(Exp(hn::Set(F32(), *head.log_alpha))) : 1.0f;
  x.mu = shape.momentum ? *head.mu : 0.0f;
  x.theta = shape.scales ? *head.theta : 1.0f;
  x.erase = (shape.erases ? *head.erase : 0.0f) + (shape.frozen ? x.theta : 0.0f);
  x.scale = shape.scale;
  if (shape.momentum) {
    shape.read.after ? TokenRow<true, true>(x, shape.dv) : TokenRow<true, false>(x, shape.dv);
  } else {
    shape.read.after ? TokenRow<false, true>(x, shape.dv) : TokenRow<false, false>(x, shape.dv);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target

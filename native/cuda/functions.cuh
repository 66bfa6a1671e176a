// Elementary functions of float32, within about 2 units in the last place: those of every other backend, for one element, since what
// CUDA offers is approximate or needs libdevice. NaN comes through.
#ifndef NESTED_LEARNING_CUDA_FUNCTIONS_CUH_
#define NESTED_LEARNING_CUDA_FUNCTIONS_CUH_

#include "cuda/cuda.h"

namespace nested_learning {

NL_DEVICE bool IsNaN(float x) { return (__float_as_uint(x) & 0x7fffffffu) > 0x7f800000u; }

NL_DEVICE bool IsFinite(float x) { return (__float_as_uint(x) & 0x7f800000u) != 0x7f800000u; }

// The larger, NaN where either is.
NL_DEVICE float Larger(float x, float y) { return IsNaN(x) || x > y ? x : y; }

NL_DEVICE float PowerOfTwo(int n) { return __uint_as_float(static_cast<unsigned>(n + 127) << 23); }

// e^x, 0 where it would be subnormal. Above 89 it is infinite.
NL_DEVICE float Exp(float exponent) {
  constexpr float kLow = -87.33654f;
  float x = exponent < kLow ? kLow : exponent;
  x = x > 89.f ? 89.f : x;
  const float n = rintf(x * 1.44269504f);
  float r = fmaf(n, -0.693359375f, x);
  r = fmaf(n, 2.12194440e-4f, r);
  float p = 0.00019789959f;
  p = fmaf(p, r, 0.0013945566f);
  p = fmaf(p, r, 0.0083335023f);
  p = fmaf(p, r, 0.041666284f);
  p = fmaf(p, r, 0.16666666f);
  p = fmaf(p, r, 0.5f);
  p = fmaf(p, r * r, r) + 1;
  // 2^n in two factors: n reaches past both ends of the exponent's range.
  const int whole = IsNaN(x) ? 0 : static_cast<int>(n), half = whole >> 1;
  return exponent < kLow ? 0 : p * PowerOfTwo(half) * PowerOfTwo(whole - half);
}

// log(1 + u) for 0 ≤ u ≤ 1, to full relative accuracy down to u = 0: 2 atanh(s) with s = u / (2 + u).
NL_DEVICE float Log1PlusUnit(float u) {
  const float s = u / (u + 2.f), y = s * s;
  float p = 0.12206534f;
  p = fmaf(p, y, 0.10696625f);
  p = fmaf(p, y, 0.14310361f);
  p = fmaf(p, y, 0.19999346f);
  p = fmaf(p, y, 0.3333334f);
  return fmaf(p * y, s + s, s + s);
}

// log x of a normal number x ≥ 1.
NL_DEVICE float LogFromOne(float x) {
  const int bits = __float_as_int(x), exponent = (bits >> 23) - 127;
  return fmaf(static_cast<float>(exponent), 0.693147180f,
              Log1PlusUnit(__int_as_float((bits & 0x007fffff) | 0x3f800000) - 1));
}

// 1 / (1 + e^−x)
NL_DEVICE float Sigmoid(float x) {
  const float e = Exp(-fabsf(x));
  return (x < 0 ? e : 1) / (1 + e);
}

// sigmoid(x) sigmoid(−x)
NL_DEVICE float SigmoidDerivative(float x) {
  const float e = Exp(-fabsf(x)), d = 1 + e;
  return e / (d * d);
}

// log(1 + e^x)
NL_DEVICE float Softplus(float x) { return (x < 0 ? 0 : x) + Log1PlusUnit(Exp(-fabsf(x))); }

// Beyond it the tails of the normal distribution are zeros, as core/math-inl.h says.
constexpr float kNormalEnd = 9.5f;

// Φ(x), to full relative accuracy in the left tail too, and bell = e^(−x²/2).
NL_DEVICE float NormalDistribution(float x, float* bell) {
  float a = fabsf(x);
  const bool beyond = a > kNormalEnd;
  a = beyond ? kNormalEnd : a;
  // e^(−a²/2) with the rounding error of a² put back.
  const float square = a * a, lost = fmaf(a, a, -square);
  const float e = Exp(square * -0.5f);
  *bell = beyond ? 0 : fmaf(e, lost * -0.5f, e);
  // Φ(−a) = e^(−a²/2) t P(t), t = 1 / (1 + 0.24 a): P fitted for least relative error (4e−9).
  const float t = 1 / fmaf(a, 0.24f, 1);
  float p = 0.02548834f;
  p = fmaf(p, t, -0.12448430f);
  p = fmaf(p, t, 0.20524864f);
  p = fmaf(p, t, -0.14414319f);
  p = fmaf(p, t, 0.14150506f);
  p = fmaf(p, t, 0.02803408f);
  p = fmaf(p, t, 0.08783834f);
  p = fmaf(p, t, 0.08890992f);
  p = fmaf(p, t, 0.0958613f);
  p = fmaf(p, t, 0.0957418f);
  const float tail = *bell * (p * t);
  return x < 0 ? tail : 1 - tail;
}

// x Φ(x), or its derivative Φ(x) + x e^(−x²/2) / √(2π): what does either has their common part once.
NL_DEVICE float GeluOrDerivative(float x, bool derivative) {
  float bell;
  const float cumulative = NormalDistribution(x, &bell);
  const float bounded = x < -kNormalEnd ? -kNormalEnd : x;
  const float clamped = bounded > kNormalEnd ? kNormalEnd : bounded;
  return derivative ? fmaf(clamped * 0.39894228f, bell, cumulative) : bounded * cumulative;
}

NL_DEVICE float Gelu(float x) { return GeluOrDerivative(x, false); }

NL_DEVICE float GeluDerivative(float x) { return GeluOrDerivative(x, true); }

}  // namespace nested_learning

#endif  // NESTED_LEARNING_CUDA_FUNCTIONS_CUH_

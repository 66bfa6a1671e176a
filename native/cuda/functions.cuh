// Elementary functions of float32 for kernels, within about 2 units in the last place: those of the C# backends, out of
// additions and multiplications, since there is no libdevice. NaN comes through.
#ifndef NESTED_LEARNING_CUDA_FUNCTIONS_CUH_
#define NESTED_LEARNING_CUDA_FUNCTIONS_CUH_

#include "cuda/cuda.h"

namespace nested_learning {

// The larger, NaN where either is.
NL_DEVICE float Larger(float x, float y) { return x != x || x > y ? x : y; }

NL_DEVICE bool IsFinite(float x) { return (__float_as_uint(x) & 0x7f800000u) != 0x7f800000u; }

// e^x.
NL_DEVICE float Exp(float x) {
  // Below -104 it rounds to 0, above 89 it is infinite.
  x = x < -104.0f ? -104.0f : x;
  x = x > 89.0f ? 89.0f : x;
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
  // 2^n in two factors: n reaches past both ends of the exponent's range. A NaN's n is anything.
  const int whole = x != x ? 0 : static_cast<int>(n), half = whole >> 1;
  return p * __int_as_float((half + 127) << 23) * __int_as_float((whole - half + 127) << 23);
}

// log(1 + u) for 0 <= u <= 1, to full relative accuracy down to u = 0.
NL_DEVICE float Log1PlusUnit(float u) {
  // 2 atanh(s) with s = u / (2 + u) <= 1/3.
  const float s = u / (u + 2), y = s * s;
  float p = 0.12206534f;
  p = fmaf(p, y, 0.10696625f);
  p = fmaf(p, y, 0.14310361f);
  p = fmaf(p, y, 0.19999346f);
  p = fmaf(p, y, 0.3333334f);
  return fmaf(p * y, s + s, s + s);
}

// log x of a normal number x >= 1.
NL_DEVICE float LogFromOne(float x) {
  const unsigned bits = __float_as_uint(x);
  const int exponent = static_cast<int>(bits >> 23) - 127;
  const float fraction = __uint_as_float((bits & 0x007fffffu) | 0x3f800000u) - 1;
  return fmaf(static_cast<float>(exponent), 0.693147180f, Log1PlusUnit(fraction));
}

// 1 / (1 + e^-x).
NL_DEVICE float Sigmoid(float x) {
  const float e = Exp(-fabsf(x));
  return (x < 0 ? e : 1.0f) / (1 + e);
}

// sigmoid(x) sigmoid(-x).
NL_DEVICE float SigmoidDerivative(float x) {
  const float e = Exp(-fabsf(x)), d = 1 + e;
  return e / (d * d);
}

// log(1 + e^x).
NL_DEVICE float Softplus(float x) { return (x < 0 ? 0.0f : x) + Log1PlusUnit(Exp(-fabsf(x))); }

// The normal distribution's Φ(x), to full relative accuracy in the left tail too, and *bell = e^(-x²/2).
NL_DEVICE float Normal(float x, float* bell) {
  float a = fabsf(x);
  a = a > 20.0f ? 20.0f : a;
  // e^(-a²/2) with the rounding error of a² put back: a in two parts, whose products are exact. The square must be
  // rounded by itself, or there is nothing to put back.
  const float square = __fmul_rn(a, a);
  const float high = __uint_as_float(__float_as_uint(a) & 0x7ffff000u), low = a - high;
  const float lost = fmaf(low, low, fmaf(2 * high, low, fmaf(high, high, -square)));
  const float b = Exp(square * -0.5f);
  *bell = fmaf(b, lost * -0.5f, b);
  // Φ(-a) = e^(-a²/2) t P(t), t = 1 / (1 + 0.24 a): P fitted for least relative error (4e-9) over 0 <= a <= 20.
  const float t = 1.0f / fmaf(a, 0.24f, 1);
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

// x Φ(x).
NL_DEVICE float Gelu(float x) {
  float bell;
  const float cumulative = Normal(x, &bell);
  return (x < -20.0f ? -20.0f : x) * cumulative;
}

// Φ(x) + x e^(-x²/2) / √(2π).
NL_DEVICE float GeluDerivative(float x) {
  float bell;
  const float cumulative = Normal(x, &bell);
  const float clamped = x > 20.0f ? 20.0f : x < -20.0f ? -20.0f : x;
  return fmaf(clamped * 0.39894228f, bell, cumulative);
}

}  // namespace nested_learning

#endif  // NESTED_LEARNING_CUDA_FUNCTIONS_CUH_
